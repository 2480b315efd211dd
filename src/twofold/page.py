"""Pages of HTML that are files of their own: no script, nothing from elsewhere.

They are read on screens wide and narrow, light and dark, and on paper. What they show
is foreign: names and texts are whatever the data has in them.
"""

from __future__ import annotations

import re
from html import escape

UNSHOWN = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Signs that no page may have, and those that turn the text around them."""
STYLE = """
:root{--page:#fbfbfa;--card:#fff;--ink:#1d2329;--soft:#5c6670;--line:#dfe3e6;--now:#7aa7d9;
--then:#b3400f;--good:#1a7f4b;--fair:#8a6100;--poor:#b3261e}
@media (prefers-color-scheme:dark){:root{--page:#14181b;--card:#1c2226;--ink:#e8ebed;
--soft:#a0aab2;--line:#333c43;--now:#4a7fb8;--then:#ff9d66;--good:#5fd093;--fair:#e5b94d;
--poor:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
header,main{max-width:1120px;margin:0 auto;padding:0 16px}
header{padding-top:24px}header p{margin:0;color:var(--soft)}
h1{margin:0;font-size:1.7rem;overflow-wrap:anywhere}
h2{margin:0 0 12px;font-size:1.2rem}section{margin:28px 0}section>p{overflow-wrap:anywhere}
h3{margin:0 0 8px;font-size:1rem;display:flex;flex-wrap:wrap;justify-content:space-between;
align-items:baseline;gap:0 8px}h3 span:first-child{overflow-wrap:anywhere;min-width:0}
small{color:var(--soft);font-weight:400}
.warnings{border-left:4px solid var(--poor);background:var(--card);padding:12px 16px}
.warnings ul{margin:0;padding-left:20px;overflow-wrap:anywhere}
.warnings p{margin:8px 0 0;color:var(--soft)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:0}
.figures div{background:var(--card);border:1px solid var(--line);border-radius:8px;
padding:10px 14px}
dt{color:var(--soft);font-size:.85rem}dd{margin:0;font-size:1.35rem;
font-variant-numeric:tabular-nums}
.figures+svg{height:10px;margin-top:12px;border-radius:5px}
.figures+svg rect{shape-rendering:crispEdges}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(300px,100%),1fr));gap:14px}
article{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:12px 14px;
min-width:0;break-inside:avoid}
article p{margin:4px 0;color:var(--soft);font-size:.85rem;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto}svg text{fill:var(--soft);font-size:11px}
.now{fill:var(--now)}.bad{fill:var(--poor)}
path.then{fill:none;stroke:var(--then);stroke-width:2}
.axis{stroke:var(--line);fill:none}
.badge{font-size:.75rem;font-weight:600;margin-left:auto;white-space:nowrap}
.good{color:var(--good)}.fair{color:var(--fair)}.poor{color:var(--poor)}
.legend{color:var(--soft);font-size:.9rem}
.legend span{display:inline-block;width:16px;height:10px;margin:0 4px 0 8px}
.legend .now{background:var(--now);margin-left:0}
.legend .then{border-top:2px solid var(--then);height:3px}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.85rem;
font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:4px 10px 4px 0;border-bottom:1px solid var(--line);
vertical-align:top;overflow-wrap:break-word}
th{font-weight:500}tbody th{min-width:7rem;max-width:24rem;overflow-wrap:anywhere}
section>.scroll tbody th{min-width:10rem}thead th{color:var(--soft);white-space:nowrap}
.facts th{white-space:nowrap;width:11rem;color:var(--soft)}.facts td{overflow-wrap:anywhere}
summary{cursor:pointer;font-size:.85rem;color:var(--soft)}
@media (max-width:520px){section>.scroll .facts th{white-space:normal;width:6.5rem;min-width:0}
dd{font-size:1.1rem}
.figures{grid-template-columns:1fr 1fr}}
@media print{:root{--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--now:#9bbfe6;
--then:#b3400f;--s0:#0072b2;--s1:#c24e00;--s2:#00805c;--s3:#9c4d7b;
--s4:#444}body{font-size:11pt}.cards{grid-template-columns:1fr 1fr}}
""".replace("\n", "")


def page_text(text: str) -> str:
    """Text of the data as text of a page."""
    return escape(UNSHOWN.sub("\ufffd", text))


def page(title: str, body: str, style: str = "") -> str:
    """A whole page.

    Args:
        title: As text.
        body: As HTML: a header and a main.
        style: What it needs beyond `STYLE`.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{page_text(title)}</title><style>{STYLE}{style}</style></head><body>"
        f"{body}</body></html>\n"
    )
