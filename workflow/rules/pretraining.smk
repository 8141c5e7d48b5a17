PAIRS = graph.params.pretraining.dataset


rule pretrain:
    input:
        # Nothing is trained before every data set is verified, and nothing is trained again because one was.
        ancient(lambda wildcards: checkpoints.check_data.get() and []),
        data=f"data/prepared/{PAIRS}/manifest.json",
        tokens=f"data/tokens/{PAIRS}/manifest.json",
    output:
        image_encoder="models/{bundle}/image_encoder.safetensors",
        model="models/{bundle}/model.safetensors",
        bundle="models/{bundle}/bundle.json",
        training="models/{bundle}/training.csv",
    log:
        "logs/pretrain/{bundle}.log",
    # The longest jobs first, so that no core is left with one of them at the end.
    priority: 10
    retries: 1
    conda:
        "../envs/prior.yaml"
    threads: 1
    resources:
        torch=1,
        mem_mb=6000,
        runtime=2880,
    params:
        settings=job.settings("pretrain"),
        code=job.code("pretrain"),
    shell:
        "prior pretrain --settings {params.settings:q} --code {params.code}"
        " --data {input.data} --tokens {input.tokens} --out {output.bundle} > {log} 2>&1"
