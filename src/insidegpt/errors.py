"""The one kind of error that a person at the command line is meant to read."""


class UserError(Exception):
    """Something that the person who typed the command can put right, in one English and one Chinese sentence."""

    def __init__(self, en: str, zh: str):
        super().__init__(f"{en} · {zh}")
        self.en, self.zh = en, zh
