package results

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCleanConsole(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", 99) + "\n"
	for _, tc := range []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"lines", "\r\n[ 1.0] BUG: \tx\r\n\x1b[0;1mred\x00\x7f\r\n", "[ 1.0] BUG:  x\n[0;1mred"},
		{"bytes", "a\xff\xfeb\xe2\x82", "a??b??"},
		{"direction and separator", "a\u202eb\u2028c", "abc"},
		{"letters", "müde\u00a0?", "müde?"},
		{"tail", strings.Repeat(line, 50), strings.TrimSuffix(strings.Repeat(line, 40), "\n")},
		{"one long line", strings.Repeat("y", MaxConsole+7), strings.Repeat("y", MaxConsole)},
		{"cut in a letter", "z" + strings.Repeat("ü", MaxConsole/2) + "y", strings.Repeat("ü", MaxConsole/2-1) + "y"},
		{"cut at a line", "dropped\n" + strings.Repeat("k", MaxConsole), strings.Repeat("k", MaxConsole)},
	} {
		if got := CleanConsole([]byte(tc.in)); got != tc.want {
			t.Errorf("%s: %.200q, want %.200q", tc.name, got, tc.want)
		}
	}
}

func TestConsoleOfRecord(t *testing.T) {
	t.Parallel()
	tr := testTrial(0)
	tr.Console = "[ 1.0] BUG\n[ 1.1] RIP"
	if err := tr.Validate(); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"a\x1b", "\n", strings.Repeat("x", MaxConsole+1), "a\r\nb"} {
		tr.Console = text
		if tr.Validate() == nil {
			t.Errorf("a record with the console %.20q is taken", text)
		}
	}
}

func FuzzCleanConsole(f *testing.F) {
	f.Add([]byte("[ 1.0] watchdog: BUG: soft lockup - CPU#0 stuck for 22s!\r\n"))
	f.Add([]byte("\xff\n\n\t\u202e"))
	f.Add([]byte(strings.Repeat("\xe2\x82\n", 2000)))
	f.Fuzz(func(t *testing.T, b []byte) {
		text := CleanConsole(b)
		if len(text) > MaxConsole || !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\x1b\r\t") {
			t.Fatalf("%d bytes, %.100q", len(text), text)
		}
		if again := CleanConsole([]byte(text)); again != text {
			t.Fatalf("%.100q becomes %.100q", text, again)
		}
	})
}
