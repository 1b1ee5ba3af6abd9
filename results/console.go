package results

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxConsole is how much of a guest's console a record keeps, in bytes: enough for
// a kernel's report with its stack.
const MaxConsole = 4096

// CleanConsole makes text of what a guest wrote to its console, which may be
// anything: lines of printable characters, tabs as spaces, no more than the last
// MaxConsole bytes, and no line of which the beginning is missing if there is a
// whole one. What it returns it leaves as it is.
func CleanConsole(b []byte) string {
	var out strings.Builder
	out.Grow(min(len(b), 2*MaxConsole))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		b = b[n:]
		switch {
		case r == '\n':
			out.WriteByte('\n')
		case r == '\t':
			out.WriteByte(' ')
		case r == utf8.RuneError && n == 1:
			out.WriteByte('?')
		case unicode.IsPrint(r):
			out.WriteRune(r)
		}
	}
	text := strings.Trim(out.String(), "\n")
	if len(text) <= MaxConsole {
		return text
	}
	cut := len(text) - MaxConsole
	whole := text[cut-1] == '\n'
	for cut < len(text) && !utf8.RuneStart(text[cut]) {
		cut++
	}
	text = text[cut:]
	if _, rest, more := strings.Cut(text, "\n"); more && !whole {
		text = rest
	}
	return strings.Trim(text, "\n")
}
