rule evaluate:
    input:
        # What is judged anew when the data are verified must not have begun with an encoder that is then made again.
        ancient(lambda wildcards: checkpoints.check_data.get() and []),
        bundle="models/{bundle}/bundle.json",
        image_encoder="models/{bundle}/image_encoder.safetensors",
        model="models/{bundle}/model.safetensors",
        data="data/prepared/{dataset}/manifest.json",
        sentences=job.sentences,
    output:
        predictions="predictions/{task}/{dataset}/{setting}/{bundle}.parquet",
        cells="predictions/{task}/{dataset}/{setting}/{bundle}.json",
    log:
        "logs/evaluate/{task}/{dataset}/{setting}/{bundle}.log",
    retries: 1
    conda:
        "../envs/prior.yaml"
    threads: 1
    resources:
        torch=1,
        mem_mb=4000,
        runtime=1440,
    params:
        settings=job.settings("evaluate"),
        code=job.code("evaluate"),
    shell:
        "prior evaluate --settings {params.settings:q} --code {params.code}"
        " --bundle {input.bundle} --data {input.data} --out {output.cells} > {log} 2>&1"


rule score:
    input:
        predictions="predictions/{task}/{dataset}/{setting}/{bundle}.parquet",
        cells="predictions/{task}/{dataset}/{setting}/{bundle}.json",
    output:
        rows="scores/{task}/{dataset}/{setting}/{bundle}.parquet",
        replicates="scores/{task}/{dataset}/{setting}/{bundle}.npz",
    log:
        "logs/score/{task}/{dataset}/{setting}/{bundle}.log",
    conda:
        "../envs/prior.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=job.settings("score"),
        code=job.code("score"),
    shell:
        "prior score --settings {params.settings:q} --predictions {input.predictions}"
        " --out {output.rows} > {log} 2>&1"
