from . import (
    archives as archives,
    files as files,
    rar as rar,
    script as script,
)
from .archives import (
    BROKEN_ARCHIVE as BROKEN_ARCHIVE,
    MEMBER_LIMIT as MEMBER_LIMIT,
    UNPACK_LIMIT as UNPACK_LIMIT,
    members as members,
    read_exactly as read_exactly,
    unpack as unpack,
)
from .files import (
    FRESH_STARTS as FRESH_STARTS,
    RETRY as RETRY,
    Remote as Remote,
    alone as alone,
    checksum as checksum,
    download as download,
    download_unsigned as download_unsigned,
    local_or_download as local_or_download,
    mismatch as mismatch,
    need_space as need_space,
)
from .rar import (
    RarMember as RarMember,
    examine_rar as examine_rar,
    rar_members as rar_members,
    rar_programs as rar_programs,
    unrar as unrar,
)
from .script import (
    add_json as add_json,
    run_and_report as run_and_report,
    run_script as run_script,
)
