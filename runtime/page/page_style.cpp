// SPDX-License-Identifier: Apache-2.0
#include "runtime/page/chart/style.hpp"
#include "runtime/page/page.hpp"

namespace switchyard::runtime::page {

std::string page_style() {
  const std::string light = variables(light_theme());
  const std::string dark = variables(dark_theme());
  return ":root{color-scheme:light;" + light + "}\n" +
         "@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;" +
         dark + "}}\n:root[data-theme=dark]{color-scheme:dark;" + dark + "}\n" +
         R"css(*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,
'Segoe UI',Roboto,'Helvetica Neue','Noto Sans','Liberation Sans',sans-serif}
main,header,footer{max-width:792px;margin:0 auto;padding:0 16px}
header{padding-top:40px}
h1{font-size:30px;line-height:1.2;letter-spacing:-.015em;margin:0 0 8px;font-weight:650;
overflow-wrap:anywhere;text-wrap:balance}
h2{font-size:20px;line-height:1.3;letter-spacing:-.01em;margin:0 0 4px;font-weight:650}
p{margin:0 0 12px;overflow-wrap:anywhere}
a{color:var(--s0)}
.lead{color:var(--quiet);margin-bottom:20px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:1px;margin:24px 0;
background:var(--faint);border:1px solid var(--faint);border-radius:10px;overflow:hidden}
.tile{background:var(--ground);padding:14px 16px}
.tile b{display:block;font-size:24px;line-height:1.2;font-weight:650;letter-spacing:-.01em;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.tile span{font-size:13.5px;line-height:1.4;color:var(--quiet);display:block;margin-top:4px}
nav ol{list-style:none;margin:0 0 8px;padding:0;display:flex;flex-wrap:wrap;gap:4px 18px;
font-size:14.5px}
nav a{text-decoration:none;display:inline-block;padding:3px 0}
nav a:hover,nav a:focus-visible{text-decoration:underline}
.notes{border-left:3px solid var(--s1);padding:2px 0 2px 14px;margin:20px 0;font-size:14.5px}
.notes p{margin:4px 0}
figure{margin:0;padding:36px 0 32px;border-top:1px solid var(--faint)}
figure>.seen{color:var(--quiet);font-size:15px;margin:0 0 18px;max-width:68ch}
figure svg{display:block;width:100%;height:auto;overflow:visible}
svg.wide{display:none}
svg.narrow{max-width:440px}
@media (min-width:640px){svg.narrow{display:none}svg.wide{display:block}}
.none{color:var(--quiet);border:1px dashed var(--line);border-radius:8px;padding:14px 16px;
margin:10px 0 0;font-size:15px}
.made-by{font-size:13.5px;color:var(--quiet);margin:14px 0 0}
code{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,'Liberation Mono',monospace;
overflow-wrap:anywhere}
details{margin-top:12px;font-size:14.5px}
summary{cursor:pointer;color:var(--s0);padding:4px 0;width:max-content;max-width:100%}
.scroll{overflow-x:auto;margin-top:8px;max-height:420px;overflow-y:auto;
border:1px solid var(--faint);border-radius:8px}
table{border-collapse:collapse;font-size:13.5px;line-height:1.35;min-width:100%;
font-variant-numeric:tabular-nums}
th,td{padding:6px 12px;text-align:right;border-bottom:1px solid var(--faint);white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{position:sticky;top:0;background:var(--ground);color:var(--quiet);font-weight:600}
tbody tr:last-child td{border-bottom:0}
footer{border-top:1px solid var(--faint);padding-top:28px;padding-bottom:48px;font-size:14.5px;
color:var(--quiet)}
footer h2{font-size:16px;color:var(--ink);margin:0 0 8px}
footer ul{margin:0 0 20px;padding-left:20px}
footer li{margin:3px 0;overflow-wrap:anywhere}
:focus-visible{outline:2px solid var(--s0);outline-offset:2px;border-radius:2px}
@page{size:A4;margin:15mm}
@media print{:root,:root[data-theme=dark],:root:not([data-theme=light]){color-scheme:light;)css" +
         light + R"css(}
body{font-size:10.5pt}
main,header,footer{max-width:none;padding-left:0;padding-right:0}
header{padding-top:0}
nav,details:not([open]){display:none}
svg.wide{display:block}svg.narrow{display:none}
figure{padding:14pt 0;break-inside:avoid}
details[open]{break-inside:auto}
.scroll{overflow:visible;max-height:none;border:0}
table{font-size:8.5pt;min-width:0}
th,td{white-space:normal;padding:2pt 5pt;overflow-wrap:anywhere}
thead th{position:static}
figure svg{max-height:235mm}
.tiles,.tile,.notes{break-inside:avoid}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";
}
}  // namespace switchyard::runtime::page
