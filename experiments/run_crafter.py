"""Trains an agent on Crafter that explores by goals in language. ``--help`` lists the options."""

from ellm_agent.cli import Request, main


def run(request: Request) -> None:
    from ellm_agent.main import run_experiment  # imported late: --help must not wait for PyTorch

    run_experiment(request.config, request.resume)


if __name__ == "__main__":
    main(__doc__, run)
