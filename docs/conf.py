"""How Sphinx builds the site: `make docs`."""

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Generic, Keyword, Name, Number, Punctuation, String, Text

project = "nervure"
author = "the nervure authors"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "nervure"
exclude_patterns = []
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
html_theme_options = {"navigation_with_keys": True}


class ProgramLexer(RegexLexer):
    """Colours for the text of programs."""

    name = "nervure"
    aliases = ("nv",)
    tokens = {
        "root": [
            (r"//[^\n]*", Comment.Single),
            (r'"(?:[^"\\]|\\.)*"', String),
            (r"#[0-9a-f]+", Comment),
            (r"%[\w.$]+", Name.Variable),
            (r"@[\w.$]+", Name.Constant),
            (
                r"\b(nervure|program|graph|sym|in|param|state|derived|trainable|return|update)\b",
                Keyword,
            ),
            (r"\b(f64|f32|f16|bf16|i64|i32|i16|i8|u64|u32|u8|bool)\b", Keyword.Type),
            (r"-?\d+(\.\d+)?(e[+-]?\d+)?", Number),
            (r"\w+", Name.Function),
            (r"[{}()\[\]<>,:=@+*.>-]", Punctuation),
            (r"\s+", Text),
            (r".", Text),
        ]
    }


class ConsoleLexer(RegexLexer):
    """Commands stand out; what they print is plain, whatever signs it has."""

    name = "console of nervure"
    aliases = ("console",)
    tokens = {
        "root": [
            (r"^(\$ )(.*\n?)", bygroups(Generic.Prompt, Generic.Strong)),
            (r".+\n?|\n", Generic.Output),
        ]
    }


def setup(app):
    app.add_lexer("nv", ProgramLexer)
    app.add_lexer("console", ConsoleLexer)
