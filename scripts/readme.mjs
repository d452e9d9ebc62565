/**
 * The README as it stands in the package. The editor's page of an extension shows pictures from https addresses only, and
 * follows no relative links: there they would be broken, so pictures are left away and links become their text.
 */
export function packagedReadme(text) {
  return text
    .replace(/^<!-- pictures -->\n.*?^<!-- end of pictures -->\n/gms, '')
    .replace(/^(?:!\[[^\]]*\]\([^)]*\)[ \t]*\n?)+\n?/gm, '')
    .replace(/\[([^\]]*)\]\((?!https?:)[^)]*\)/g, '$1')
    .replace(/\n{3,}/g, '\n\n');
}
