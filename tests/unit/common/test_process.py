"""How a process begins."""

from __future__ import annotations

import resource

from ml_connector.common.process import allow_files


def test_as_many_files_may_be_open_as_the_system_allows() -> None:
    before = soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), most))
    try:
        allow_files()

        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most, most)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
