"""The only place that imports zmq: every socket is made here, with every option set on purpose."""
