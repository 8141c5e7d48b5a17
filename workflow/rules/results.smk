RESULTS = job.settings("results")


rule collect:
    input:
        predictions=graph.score_files(),
        scores=expand("scores/{job}.parquet", job=graph.jobs()),
    output:
        expand("results/{file}", file=graph.collected_files()),
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


rule tables:
    input:
        expand("results/{file}", file=graph.collected_files()),
    output:
        expand("results/{file}", file=graph.table_files()),
    log:
        "logs/tables.log",
    conda:
        "../envs/prior.yaml"
    params:
        settings=RESULTS,
        code=job.code("tables"),
    shell:
        "prior tables --settings {params.settings:q} --out results/tables > {log} 2>&1"


rule plots:
    input:
        expand("results/{file}", file=graph.collected_files()),
        expand("models/{bundle}/training.csv", bundle=graph.bundles),
        expand(
            "predictions/{job}.{suffix}", job=graph.jobs(), suffix=["json", "parquet"]
        ),
        graph.manifest_files(),
    output:
        report(
            expand("results/{file}", file=graph.plot_files()),
            category="Plots",
            caption="../report/plots.rst",
        ),
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


rule page:
    input:
        expand("results/{file}", file=graph.collected_files()),
        expand("results/{file}", file=graph.plot_files()),
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
