"""``python -m pat.study.audit`` measures the paper's networks anew."""

from pat.study.paper.networks import write_networks

if __name__ == "__main__":
    write_networks()
