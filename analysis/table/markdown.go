package table

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// markdown escapes what is not text to Markdown (GitHub's): emphasis, code, formulas,
// headings, links, HTML and the borders of cells. An underscore between letters or digits is text.
func markdown(s string) string {
	var b strings.Builder
	last := ' '
	for i, r := range s {
		switch r {
		case '\\', '|', '*', '`', '$', '~', '#':
			b.WriteByte('\\')
		case '_':
			next, _ := utf8.DecodeRuneInString(s[i+1:])
			if !inWord(last) || !inWord(next) {
				b.WriteByte('\\')
			}
		case '(', '[': // of a link: [text](address), [text][name]
			if last == ']' {
				b.WriteByte('\\')
			}
		}
		last = r
		switch r {
		case '<':
			b.WriteString("&lt;")
		case '&':
			b.WriteString("&amp;")
		case '\n', '\r':
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// markdownLine is markdown for text that begins a line. There some more characters begin a
// quotation, a list, a heading or the definition of a link.
func markdownLine(s string) string {
	text := strings.TrimLeft(markdown(s), " ")
	marker := strings.TrimLeft(text, "0123456789")
	switch {
	case text == "":
		return text
	case strings.ContainsRune(">-+=[", rune(text[0])):
		return `\` + text
	case len(marker) < len(text) && marker != "" && (marker[0] == '.' || marker[0] == ')'):
		return text[:len(text)-len(marker)] + `\` + marker
	}
	return text
}
