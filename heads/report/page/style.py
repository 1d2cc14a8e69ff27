"""How the report's page looks: one style sheet for light, dark, narrow and paper; no font or picture from elsewhere."""

from headstart.core.heads.report.page.figures.svg import COLOURS


def _variables(shade: int) -> str:
    return "".join(f"--{key}:{pair[shade]};" for key, pair in COLOURS.items())


BASE = f"""
:root{{color-scheme:light dark;{_variables(0)}--soft:#f3f4f2;--warn:#8a3b00;--link:#0b57a4}}
@media (prefers-color-scheme:dark){{:root{{{_variables(1)}--soft:#1c222b;--warn:#ffb37a;--link:#8cc4ff}}}}
"""
BASE += """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",
  "Helvetica Neue",Arial,sans-serif;overflow-wrap:break-word}
header,main,footer,nav{max-width:74rem;margin:0 auto;padding:0 1.25rem}
a{color:var(--link);text-underline-offset:.15em}
:focus-visible{outline:3px solid var(--link);outline-offset:2px;border-radius:2px}
.skip{position:absolute;left:-99rem}
.skip:focus{left:1rem;top:1rem;background:var(--paper);padding:.5rem 1rem;z-index:2}
header{padding-top:clamp(1.5rem,5vw,4rem)}
h1,h2,h3{line-height:1.2;text-wrap:balance;letter-spacing:-.011em}
h1{font-size:clamp(1.7rem,1.2rem + 2.4vw,2.9rem);margin:0 0 .75rem;max-width:30em}
.doubts{margin-top:.6rem;font-size:clamp(.95rem,.9rem + .3vw,1.1rem);font-weight:500;line-height:1.5;
  letter-spacing:0;color:var(--warn);max-width:70ch}
h2{font-size:1.55rem;margin:0 0 .75rem}
h3{font-size:1.08rem;margin:2rem 0 .5rem}
"""
"""Colours, type and headings, which the service's page has too."""

STYLE = (
    BASE
    + """
p,ul.plain,figcaption{max-width:70ch}
.lead,.made{color:var(--muted)}
nav ul{display:flex;flex-wrap:wrap;gap:.35rem 1.1rem;list-style:none;margin:1.25rem 0 0;padding:.8rem 0;
  border-block:1px solid var(--line);font-size:.93rem}
nav.nested>ul{display:grid;gap:.6rem}
nav.nested ul ul{border:0;padding:.2rem 0 0;margin:0}
nav a{text-decoration:none}
nav a:hover{text-decoration:underline}
section{margin:3.5rem 0 0}
.part>:is(h2,h3):first-child{font-size:1.55rem;margin:0 0 .75rem}
h2.of{font-size:clamp(1.6rem,1.3rem + 1.4vw,2.2rem);margin:4.5rem 0 .4rem;padding-top:1.5rem;
  border-top:3px solid var(--line)}
h2.of+p{margin:0}
h2.of~section:first-of-type{margin-top:2rem}
ul.plain{padding-left:1.15rem}
@media (min-width:64rem){ul.findings{columns:2;column-gap:3rem;max-width:none}}
ul.findings li{break-inside:avoid}
ul.plain li{margin:.45rem 0}
ul.plain li::marker{color:var(--muted)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr));gap:1rem;margin:1.5rem 0}
.card{background:var(--soft);border-radius:.6rem;padding:1rem 1.15rem;min-width:0}
.card>:is(h3,h4){margin:0 0 .5rem;font-size:1rem}
.card dl{margin:0;display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,12rem),1fr));gap:.75rem 1.5rem}
.card dt{font-size:.82rem;color:var(--muted);line-height:1.3}
.card dd{margin:0;font-variant-numeric:tabular-nums;line-height:1.3}
.card strong,.card .theirs{font-size:1.3rem;font-weight:650;letter-spacing:-.01em}
.card .theirs{font-weight:400}
.card small{display:block;color:var(--muted);font-size:.82rem}
.answers{margin:0;display:grid;gap:1.4rem}
.answers>div{display:grid;grid-template-columns:13rem minmax(0,1fr);gap:.25rem 2rem;border-top:1px solid var(--line);
  padding-top:.9rem}
.answers dt{font-weight:600;line-height:1.4}
.answers dd{margin:0}
.answers dd>:first-child{margin-top:0}
.answers dd>:last-child{margin-bottom:0}
.answers dd>ul:not(.sheet){padding-left:1.15rem}
.answers .sheet{grid-template-columns:repeat(auto-fill,minmax(6.8rem,8rem))}
sup{line-height:0;font-size:.72em;margin-left:.15em}
pre{margin:.5rem 0;white-space:pre;overflow-x:auto;background:var(--soft);border-radius:.25em}
pre code{display:block;padding:.6rem .8rem}
.scroll{overflow-x:auto;max-width:100%;margin:1.25rem 0;border-block:1px solid var(--line)}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;padding:.6rem .1rem;color:var(--muted)}
th,td{padding:.5rem .6rem;text-align:left;vertical-align:top;border-top:1px solid var(--line);line-height:1.4;
  overflow-wrap:anywhere;min-width:6.2rem}
th:first-child{padding-left:.1rem}
thead th{font-weight:600;font-size:.86rem;color:var(--muted);vertical-align:bottom}
tbody th{font-weight:600}
td.n{white-space:nowrap}
td small,th small{display:block;color:var(--muted);font-weight:400;white-space:normal}
figure{margin:0;min-width:0}
.art{overflow-x:auto}
.art svg{display:block;width:100%;height:auto;max-width:44rem;min-width:20rem}
figcaption{font-size:.9rem;color:var(--muted);margin-top:.5rem;line-height:1.5}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,27rem),1fr));gap:2.25rem 2.5rem;
  margin:1.5rem 0}
.small{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:2rem;margin:1.5rem 0}
img{display:block;max-width:100%}
.photo{width:7rem;height:7rem;object-fit:cover;border-radius:.35rem;background:var(--soft);margin-bottom:.35rem}
.pair{display:flex;flex-wrap:wrap;gap:1.25rem}
.pair div{width:min(14rem,100%)}
.pair img{width:100%;aspect-ratio:1;object-fit:contain;image-rendering:pixelated;border-radius:.35rem;
  background:var(--soft)}
.pair p{margin:.4rem 0 0;font-size:.9rem}
.sheet{display:grid;grid-template-columns:repeat(auto-fill,minmax(6.8rem,1fr));gap:1.1rem .9rem;list-style:none;
  padding:0;margin:1rem 0}
.sheet img,.tiny{width:100%;aspect-ratio:1;object-fit:cover;image-rendering:pixelated;border-radius:.3rem;
  background:var(--soft)}
.tiny{width:4rem}
.sheet li{font-size:.82rem;line-height:1.35}
.sheet p{margin:.35rem 0 0}
.sheet small{display:block;overflow-wrap:anywhere}
details{margin:.9rem 0;border-top:1px solid var(--line);padding-top:.7rem}
summary{cursor:pointer;font-weight:600}
ol.notes{padding-left:1.4rem;max-width:70ch;color:var(--warn);font-size:.93rem}
ol.notes li:target{background:var(--soft)}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:.92em;background:var(--soft);
  padding:.1em .35em;
  border-radius:.25em}
footer{margin-top:4rem;padding-bottom:3rem;color:var(--muted);font-size:.9rem}
@media (max-width:48rem){
 th,td{min-width:0}
 .stack,.stack :is(caption,tbody,tr,th,td){display:block}
 .stack thead{position:absolute;left:-99rem}
 .stack tr{border-top:1px solid var(--line);padding:.6rem 0}
 .stack :is(th,td){border:0;padding:.15rem .1rem}
 .stack td:has(>[aria-label=none]){display:none}
 .stack td{display:flow-root;padding-left:9rem}
 .stack td::before{content:attr(data-label);float:left;width:8.4rem;margin-left:-9rem;color:var(--muted);
  white-space:normal}
}
@media (max-width:40rem){
 section{margin-top:2.75rem}
 .answers>div{grid-template-columns:minmax(0,1fr)}
 table{font-size:.86rem}
 table:not(.stack) :is(th,td){padding:.45rem .4rem}
 thead th{font-size:.8rem}
 .art:has(>svg){margin-inline:-1.1rem}
 .pair{gap:1rem .75rem}
 .pair div{width:calc(50% - .375rem)}
}
@media print{
 :root{color-scheme:light;PRINTED--soft:#f3f4f2;--warn:#8a3b00;--link:#0b57a4}
 body{font-size:10pt;background:none}
 nav,.skip{display:none}
 header,main,footer{max-width:none;padding:0}
 .scroll,.art{overflow:visible}
 table{font-size:8pt}
 th,td{padding:.2rem .35rem;min-width:0}
 td.n{white-space:normal}
 figure,.card,tr,.sheet li{break-inside:avoid}
 h2,h3,caption{break-after:avoid}
 .grid{grid-template-columns:1fr 1fr;gap:1rem}
 details::details-content{content-visibility:visible;display:block}
 a{color:inherit;text-decoration:none}
}
""".replace("PRINTED", _variables(0))
)
"""CSS without anything from the facts; figures take their colours from the same variables."""
