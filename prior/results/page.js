(() => {
  const tabs = [...document.querySelectorAll("nav button")];
  const show = (key, focus) => {
    for (const tab of tabs) {
      const chosen = tab.dataset.target === key;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      document.getElementById(tab.dataset.target).hidden = !chosen;
      if (chosen && focus) tab.focus();
    }
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => { show(tab.dataset.target); history.replaceState(null, "", "#/" + tab.dataset.target); });
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) show(tabs[(i + step + tabs.length) % tabs.length].dataset.target, true);
    });
  });
  // The slash keeps the browser from scrolling to the section, past the title.
  const wanted = () => (tabs.find((tab) => "#/" + tab.dataset.target === location.hash) ?? tabs[0]).dataset.target;
  addEventListener("hashchange", () => show(wanted()));
  show(wanted());

  const value = (row, column) => {
    const text = row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const number = parseFloat(text);
    return Number.isNaN(number) ? text : number;
  };
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  };
  const sort = (heading) => {
    const table = heading.closest("table");
    const column = heading.cellIndex;
    const first = heading.getAttribute("aria-sort");
    const direction = first === "descending" ? 1 : first === "ascending" ? -1 : column === 0 ? 1 : -1;
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
    const body = table.tBodies[0];
    [...body.rows].sort((a, b) => {
      const [x, y] = [value(a, column), value(b, column)];
      return x === "" || y === "" ? compare(x, y) : direction * compare(x, y);
    }).forEach((row) => body.append(row));
  };
  for (const heading of document.querySelectorAll("thead th")) {
    heading.tabIndex = 0;
    heading.addEventListener("click", () => sort(heading));
    heading.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(heading); } });
  }
})();
