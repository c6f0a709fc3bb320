"""Registration tokens."""

from control_client.tokens import NO_TOKEN_HASH, is_token, new_token, token_hash, token_matches


def test_tokens_are_long_distinct_and_fit_a_message() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {48}
    assert all(is_token(token) for token in tokens)


def test_a_token_matches_its_own_hash_only() -> None:
    token, other = new_token(), new_token()
    assert token_matches(token, token_hash(token))
    assert not token_matches(other, token_hash(token))
    assert not token_matches(token, NO_TOKEN_HASH)
    assert not token_matches(token, "")
    assert token not in token_hash(token)
    # FIPS 180-4's example: what is stored must not change with a version.
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert token_matches("abc", abc)


def test_the_form_of_a_token() -> None:
    token = new_token()
    for text in ("", token[:-1], token + "x", token + "\n", token.replace("ovl1.", "")):
        assert not is_token(text)
