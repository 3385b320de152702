"""Which keys belong to a version, and which templates are refused."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cacherollout.cache.errors import TemplateError
from cacherollout.cache.keys import Family, KeyTemplate, OpenScope, Scope, escape_glob, key_of

PREFIXES = ("user:", "booking:")
USERS = Family("user", KeyTemplate.parse("user:{version}:{id}", PREFIXES))
LISTS = Family("list", KeyTemplate.parse("user:{version}:list:{id}", PREFIXES))
TAGGED = Family("tagged", KeyTemplate.parse("booking:{version}:{{id}}:all", PREFIXES))
VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
IDS = st.binary(min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("template", "hint"),
    [
        ("user:{id}", "{version} once"),
        ("user:{version}", "{id} once"),
        ("user:{version}:{version}:{id}", "{version} once"),
        ("user:{version}{id}", "delimiter"),
        ("user:{version}x{id}", "delimiter"),
        ("user:{version}-{id}", "delimiter"),
        ("user:{id}:{version}:", "before {id}"),
        ("u:{version}:{id}", "at least 3 bytes"),
        ("{version}:{id}", "at least 3 bytes"),
        ("service:{version}:{id}", "allowed prefix"),
        ("use:{version}:{id}", "allowed prefix"),
        ("user:" + "x" * 600 + "{version}:{id}", "at most 512 bytes"),
    ],
)
def test_a_template_that_could_reach_foreign_keys_is_refused(template: str, hint: str) -> None:
    with pytest.raises(TemplateError, match=hint):
        KeyTemplate.parse(template, PREFIXES)


def test_no_prefix_allowed_means_no_template() -> None:
    with pytest.raises(TemplateError, match="none"):
        KeyTemplate.parse("user:{version}:{id}", ())
    with pytest.raises(TemplateError, match="allowed prefix"):
        KeyTemplate.parse("user:{version}:{id}", ("",))


@pytest.mark.parametrize(
    "version", ["", "v*", "v?", "v[1]", "v:1", "v{1}", "v 1", "v\n", "v1\n", "-v", "é", "v" * 64]
)
def test_a_version_that_could_be_a_pattern_or_a_delimiter_is_refused(version: str) -> None:
    with pytest.raises(TemplateError, match="version"):
        Scope((USERS,), (version,))


@pytest.mark.parametrize(
    ("key", "identifier"),
    [
        (b"user:v1:7", b"7"),
        (b"user:v1:a:b", b"a:b"),
        (b"user:v1:*", b"*"),
        (b"user:v1:\x00\xff", b"\x00\xff"),
        (b"user:v1:", None),
        (b"user:v1", None),
        (b"user:v10:7", None),
        (b"user:v1.1:7", None),
        (b"user:V1:7", None),
        (b"xuser:v1:7", None),
        (b"booking:v1:7", None),
    ],
)
def test_a_key_belongs_to_a_version_exactly(key: bytes, identifier: bytes | None) -> None:
    match = Scope((USERS,), ("v1",)).match(key)
    assert (match.id if match else None) == identifier


def test_a_hash_tag_and_a_tail_are_literal() -> None:
    scope = Scope((TAGGED,), ("v2",))
    match = scope.match(b"booking:v2:{42}:all")
    assert match is not None
    assert match.id == b"42"
    assert match.under("v3") == b"booking:v3:{42}:all"
    assert scope.match(b"booking:v2:{42}:some") is None
    assert scope.match(b"booking:v2:{}:all") is None


def test_head_and_tail_may_not_share_bytes() -> None:
    family = Family("f", KeyTemplate.parse("user:{version}:aa{id}aa", PREFIXES))
    scope = Scope((family,), ("v1",))
    assert scope.match(b"user:v1:aaa") is None
    assert scope.match(b"user:v1:aaaa") is None
    assert scope.match(b"user:v1:aaaaa") is not None


def test_the_most_specific_template_takes_a_key() -> None:
    scope = Scope((USERS, LISTS), ("v1",))
    match = scope.match(b"user:v1:list:7")
    assert match is not None
    assert match.family.name == "list"


def test_a_family_left_out_still_keeps_its_keys_from_a_broader_one() -> None:
    scope = Scope((USERS,), ("v1",), others=(LISTS,))
    assert scope.match(b"user:v1:list:7") is None
    assert scope.match(b"user:v1:7") is not None


def test_two_families_may_not_share_a_name_or_a_template() -> None:
    with pytest.raises(TemplateError, match="names must differ"):
        Scope((USERS, USERS), ("v1",))
    twin = Family("twin", USERS.template)
    with pytest.raises(TemplateError, match="same key template"):
        Scope((USERS, twin), ("v1",))


@given(version=VERSIONS, other=VERSIONS, identifier=IDS)
def test_renaming_there_and_back_is_the_identity(
    version: str, other: str, identifier: bytes
) -> None:
    for family in (USERS, LISTS, TAGGED):
        key = key_of(family, version, identifier)
        match = Scope((family,), (version,)).match(key)
        assert match is not None
        assert match.id == identifier
        back = Scope((family,), (other,)).match(match.under(other))
        assert back is not None
        assert back.under(version) == key


@given(version=VERSIONS, other=VERSIONS, identifier=IDS)
def test_no_version_takes_a_key_of_another(version: str, other: str, identifier: bytes) -> None:
    for family in (USERS, LISTS, TAGGED):
        match = Scope((family,), (version,)).match(key_of(family, other, identifier))
        assert (match is not None) == (version == other)


@given(literal=st.text(alphabet="ab*?[]\\^-", max_size=8))
def test_glob_characters_are_literal_in_patterns(literal: str) -> None:
    pattern = escape_glob(literal.encode()).decode()
    unescaped, escapes = [], iter(pattern)
    for char in escapes:
        if char == "\\":
            unescaped.append(next(escapes))
        else:
            assert char not in "*?[]"
            unescaped.append(char)
    assert "".join(unescaped) == literal


@given(version=VERSIONS, identifier=st.text(alphabet="abc:", min_size=1, max_size=9))
def test_the_scan_pattern_takes_every_key_of_the_scope(version: str, identifier: str) -> None:
    scope = Scope((USERS, LISTS, TAGGED), (version, "zz"))
    for family in scope.families:
        key = key_of(family, version, identifier.encode()).decode()
        assert fnmatch.fnmatchcase(key, scope.pattern.decode())
    assert Scope((TAGGED,), ("v1",)).pattern == b"booking:v1:{*}:all"


@pytest.mark.parametrize(
    ("key", "found"),
    [
        (b"user:v1:1", ("user", "v1", b"1")),
        (b"user:v10:*", ("user", "v10", b"*")),
        (b"user:v1:list:1", ("list", "v1", b"1")),
        (b"user:v1:list:", ("user", "v1", b"list:")),
        (b"user:v1:", None),
        (b"user:v1", None),
        (b"user::1", None),
        (b"user:[v1]:1", None),
        (b"user:" + b"v" * 64 + b":1", None),
        (b"xuser:v1:1", None),
    ],
)
def test_an_open_scope_tells_the_version_of_a_key(
    key: bytes, found: tuple[str, str, bytes] | None
) -> None:
    templates = {"user": "user:{version}:{id}", "list": "user:{version}:list:{id}"}
    scope = OpenScope(
        tuple(Family(name, KeyTemplate.parse(text, ("user:",))) for name, text in templates.items())
    )
    matches = [(match.family.name, match.version, match.id) for match in scope.matches([key])]
    assert matches == ([found] if found else [])
    assert scope.pattern == b"user:*"
