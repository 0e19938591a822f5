"""A real nginx in front of our ports, configured as ingress-nginx writes it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.acceptance.up import eventually, free_port

MAIN = """
daemon off;
{user}
pid {root}/pid;
error_log {root}/error.log;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {root}/body;
    proxy_temp_path {root}/proxy;
    fastcgi_temp_path {root}/fastcgi;
    uwsgi_temp_path {root}/uwsgi;
    scgi_temp_path {root}/scgi;
    underscores_in_headers off;
    map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
    map $http_x_request_id $req_id {{ default $http_x_request_id; '' $request_id; }}
{servers}
}}
"""
SERVER = """
    upstream upstream_balancer_{front} {{
        server 127.0.0.1:{back};
        keepalive 320;
        keepalive_time 1h;
        keepalive_timeout 60s;
        keepalive_requests 10000;
    }}
    server {{
        listen 127.0.0.1:{front};
        client_max_body_size 0;  # its default of 1m is less than an adapter
        location / {{
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $connection_upgrade;
            proxy_set_header X-Request-ID $req_id;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Port $server_port;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Scheme $scheme;
            proxy_set_header X-Scheme $scheme;
            proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for;
            proxy_set_header Proxy "";
            proxy_connect_timeout 5s;
            proxy_send_timeout 60s;
            proxy_read_timeout 60s;
            proxy_buffering off;
            proxy_buffer_size 4k;
            proxy_buffers 4 4k;
            proxy_max_temp_file_size 1024m;
            proxy_request_buffering on;
            proxy_http_version 1.1;
            proxy_cookie_domain off;
            proxy_cookie_path off;
            proxy_next_upstream error timeout;
            proxy_next_upstream_tries 3;
            proxy_redirect off;
            proxy_pass http://upstream_balancer_{front};
        }}
    }}
"""


@contextmanager
def nginx(root: Path, backs: Sequence[int]) -> Iterator[list[str]]:
    """The URLs under which nginx stands in front of the ports ``backs`` of this machine. Skips without nginx."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("not checked: nginx is not installed (Debian package nginx)")
    fronts = [free_port() for _ in backs]
    servers = "".join(SERVER.format(front=front, back=back) for front, back in zip(fronts, backs, strict=True))
    user = "user root;" if os.getuid() == 0 else ""  # its workers must reach this test's directory
    (root / "nginx.conf").write_text(MAIN.format(root=root, user=user, servers=servers))
    process = subprocess.Popen(
        [program, "-p", str(root), "-e", str(root / "error.log"), "-c", str(root / "nginx.conf")]
    )
    try:
        urls = [f"http://127.0.0.1:{front}" for front in fronts]
        for url in urls:
            eventually(lambda url=url: httpx.get(f"{url}/health").is_success)  # type: ignore[misc]
        yield urls
    finally:
        process.terminate()
        process.wait(30)
