"""The Hugging Face hub: asked once whether it answers, so that nobody waits for a library's retries."""

from insidegpt.errors import UserError


def require_hub(wanted: str, way_out: tuple[str, str]) -> None:
    """Raise UserError when the hub cannot be reached.

    wanted: what is to be downloaded; way_out: what to do without it, as an English and a Chinese clause.
    """
    from huggingface_hub import constants, get_session

    try:
        if constants.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:  # the session's HTTP library has errors of its own, and it changes between versions
        raise UserError(
            f"{wanted} is not on this computer and {constants.ENDPOINT} cannot be reached ({error}): "
            f"go online, or {way_out[0]}.",
            f"本机没有 {wanted}，也连不上 {constants.ENDPOINT}（{error}）：请先联网，或者{way_out[1]}。",
        ) from error
