from prior.results import names

RESULTS = job.settings("results")
PREDICTIONS = expand(
    "predictions/{job}.{suffix}", job=graph.jobs(), suffix=["json", "parquet"]
)


rule collect:
    input:
        graph.record_files(),
        predictions=graph.score_files(),
        scores=expand("scores/{job}.parquet", job=graph.jobs()),
    output:
        report(
            "results/results.csv", category="Numbers", caption="../report/numbers.rst"
        ),
        expand("results/{file}", file=graph.collected_files()[1:]),
    log:
        "logs/collect.log",
    conda:
        "../envs/prior.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=RESULTS,
        code=job.code("collect"),
    shell:
        "prior collect {input.scores} --settings {params.settings:q} --out results/results.csv > {log} 2>&1"


rule subgroups:
    input:
        graph.record_files(),
        PREDICTIONS,
    output:
        report(f"results/{names.SUBGROUPS}", **names.report_flags(names.SUBGROUPS)),
    log:
        "logs/subgroups.log",
    conda:
        "../envs/prior.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=job.settings("subgroups"),
        code=job.code("subgroups"),
    shell:
        "prior subgroups --settings {params.settings:q} --out {output} > {log} 2>&1"


rule tables:
    input:
        expand("results/{file}", file=graph.collected_files()),
        f"results/{names.SUBGROUPS}",
    output:
        [
            report(f"results/{file}", **names.report_flags(file))
            for file in graph.table_files()
        ],
    log:
        "logs/tables.log",
    conda:
        "../envs/prior.yaml"
    params:
        settings=job.settings("tables"),
        code=job.code("tables"),
    shell:
        "prior tables --settings {params.settings:q} --out results/tables > {log} 2>&1"


rule plots:
    input:
        expand("results/{file}", file=graph.collected_files()),
        expand("models/{bundle}/training.csv", bundle=graph.bundles),
        PREDICTIONS,
        graph.manifest_files(),
        "data/leaks.json",
    output:
        [
            report(f"results/{file}", **names.report_flags(file))
            for file in graph.plot_files()
            if file.endswith(".svg")
        ],
        [f"results/{file}" for file in graph.plot_files() if file.endswith(".png")],
    log:
        "logs/plots.log",
    conda:
        "../envs/prior.yaml"
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=RESULTS,
        code=job.code("plots"),
    shell:
        "prior plots --settings {params.settings:q} --out results/plots > {log} 2>&1"


rule embedding_maps:
    input:
        expand(
            "predictions/{job}.{suffix}",
            job=graph.embedding_jobs(),
            suffix=["json", "parquet"],
        ),
        expand(
            "models/{bundle}/{file}",
            bundle=graph.bundles,
            file=["bundle.json", "image_encoder.safetensors"],
        ),
        graph.record_files(),
    output:
        [
            report(f"results/{file}", **names.report_flags(file))
            for file in graph.embedding_files()
            if file.endswith(".svg")
        ],
        [f"results/{file}" for file in graph.embedding_files() if file.endswith(".png")],
    log:
        "logs/embedding_maps.log",
    conda:
        "../envs/prior.yaml"
    threads: 1
    resources:
        torch=1,
        mem_mb=4000,
        runtime=60,
    params:
        settings=job.settings("embedding_maps"),
        code=job.code("embedding_maps"),
    shell:
        "prior embedding-maps --settings {params.settings:q} --out results/plots > {log} 2>&1"


rule page:
    input:
        expand("results/{file}", file=graph.collected_files()),
        expand("results/{file}", file=graph.plot_files()),
        expand("results/{file}", file=graph.embedding_files()),
        f"results/{names.SUBGROUPS}",
        graph.manifest_files(),
    output:
        report("results/index.html", category="Page", caption="../report/page.rst"),
    log:
        "logs/page.log",
    conda:
        "../envs/prior.yaml"
    params:
        settings=job.settings("page"),
        code=job.code("page"),
    shell:
        "prior page --settings {params.settings:q} --out {output} > {log} 2>&1"
