rule simulate:
    output:
        "data/raw/{dataset}/simulation.json",
    log:
        "logs/simulate/{dataset}.log",
    conda:
        "../envs/prior.yaml"
    threads: job.data_threads
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        settings=job.settings("simulate"),
        code=job.code("simulate"),
    shell:
        "prior simulate --settings {params.settings:q} --workers {threads} --out {output} > {log} 2>&1"


rule prepare:
    input:
        job.raw,
    output:
        manifest="data/prepared/{dataset}/manifest.json",
        images="data/prepared/{dataset}/images.parquet",
        store=f"data/prepared/{{dataset}}/images_{graph.params.image.size}_{graph.params.image.fit}.npy",
    log:
        "logs/prepare/{dataset}.log",
    conda:
        "../envs/prior.yaml"
    threads: job.data_threads
    resources:
        mem_mb=lambda wildcards, threads: 1000 + 500 * threads,
        runtime=720,
    params:
        settings=job.settings("prepare"),
        code=job.code("prepare"),
    shell:
        "prior prepare --settings {params.settings:q} --workers {threads}"
        " --out {output.manifest} > {log} 2>&1"


rule leaks:
    input:
        graph.manifest_files(),
    output:
        "data/leaks.json",
    log:
        "logs/leaks.log",
    conda:
        "../envs/prior.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=job.settings("leaks"),
        code=job.code("leaks"),
    shell:
        "prior leaks --settings {params.settings:q} --out {output} > {log} 2>&1"


# A checkpoint, so that what waits for it is judged anew when it has run: behind a file that is `ancient` and about to
# be made, Snakemake skips the jobs whose settings have changed and those whose files are missing.
checkpoint check_data:
    input:
        # What a strict preset forbids stops here, before anything is trained.
        "data/leaks.json",
        manifests=expand(
            "data/prepared/{dataset}/manifest.json", dataset=graph.datasets
        ),
    output:
        "data/checked.json",
    log:
        "logs/check_data.log",
    conda:
        "../envs/prior.yaml"
    shell:
        "prior check-data {input.manifests} --out {output} > {log} 2>&1"


rule split_sentences:
    input:
        "data/prepared/{dataset}/manifest.json",
    output:
        "data/prepared/{dataset}/sentences.parquet",
    log:
        "logs/split_sentences/{dataset}.log",
    conda:
        "../envs/prior.yaml"
    threads: job.data_threads
    resources:
        mem_mb=lambda wildcards, threads: 1500 + 500 * threads,
        runtime=60,
    params:
        code=job.code("split_sentences"),
    shell:
        "prior split-sentences {output} --workers {threads} > {log} 2>&1"


rule tokenize:
    input:
        "data/prepared/{dataset}/manifest.json",
        sentences="data/prepared/{dataset}/sentences.parquet",
    output:
        tokenizer="data/tokens/{dataset}/tokenizer.json",
        tokens="data/tokens/{dataset}/tokens.npz",
        manifest="data/tokens/{dataset}/manifest.json",
    log:
        "logs/tokenize/{dataset}.log",
    conda:
        "../envs/prior.yaml"
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=job.settings("tokenize"),
        code=job.code("tokenize"),
    shell:
        "prior tokenize --settings {params.settings:q} --prepared {input.sentences}"
        " --out {output.manifest} > {log} 2>&1"
