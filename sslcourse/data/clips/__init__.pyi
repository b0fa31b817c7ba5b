from . import (
    decode as decode,
    prepared as prepared,
    reader as reader,
    script as script,
    source as source,
)
from .decode import (
    BLOCK as BLOCK,
    JITTER as JITTER,
    decoded as decoded,
    sound_of as sound_of,
)
from .prepared import (
    FORMAT as FORMAT,
    HEADER as HEADER,
    SETTINGS as SETTINGS,
    SHARD as SHARD,
    begin as begin,
    damaged as damaged,
    is_prepared as is_prepared,
    prepare as prepare,
    read_index as read_index,
    shard_file as shard_file,
)
from .reader import (
    IN_MEMORY as IN_MEMORY,
    UNKNOWN as UNKNOWN,
    Clips as Clips,
    Film as Film,
    Sequences as Sequences,
    davis as davis,
    hmdb51 as hmdb51,
    open as open,
    sequences as sequences,
    ucf101 as ucf101,
)
from .script import (
    add_options as add_options,
    by_file_name as by_file_name,
    command as command,
    finished as finished,
    summary as summary,
)
from .source import (
    SUFFIXES as SUFFIXES,
    Video as Video,
    natural as natural,
    pictures_in as pictures_in,
    videos_in as videos_in,
)
