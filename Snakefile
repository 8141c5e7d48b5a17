# Front door: `snakemake --cores 8 all_benchmarks`. The rules are in workflow/.
include: "workflow/Snakefile"


rule all:
    default_target: True
    input:
        rules.all_benchmarks.input,
