package printable

import (
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ in, line, text string }{
		{"", "", ""},
		{"kworker/0:1-events", "kworker/0:1-events", "kworker/0:1-events"},
		{"müde 日本 ☃ a\u00a0b", "müde 日本 ☃ a\u00a0b", "müde 日本 ☃ a\u00a0b"},
		{"\x1b]0;pwn\x07\nHANG x", `\x1b]0;pwn\a\nHANG x`, `\x1b]0;pwn\a` + "\nHANG x"},
		{"a\r\nb\rc\td", `a\r\nb\rc\td`, "a\nb" + `\rc\td`},
		{"a\u202eb\u2066c\u200bd\u2028e\u009bf", `a\u202eb\u2066c\u200bd\u2028e\u009bf`,
			`a\u202eb\u2066c\u200bd\u2028e\u009bf`},
		{"\xff\xe2\x82ü\x80", `\xff\xe2\x82ü\x80`, `\xff\xe2\x82ü\x80`},
		{"\x00\x7f\x0b", `\x00\x7f\v`, `\x00\x7f\v`},
		{"\ufffd\ufeff\uffff\U000e0041", `�\ufeff\uffff\U000e0041`, `�\ufeff\uffff\U000e0041`},
		{`a\x1b "b"`, `a\x1b "b"`, `a\x1b "b"`},
	} {
		if got := Line(tc.in); got != tc.line {
			t.Errorf("line %q: %q, want %q", tc.in, got, tc.line)
		}
		if got := Text(tc.in); got != tc.text {
			t.Errorf("text %q: %q, want %q", tc.in, got, tc.text)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\x1b[31m\u202e\xff\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, tc := range []struct {
			got string
			as  func(string) string
			may string
		}{{Line(s), Line, ""}, {Text(s), Text, "\n"}} {
			if !utf8.ValidString(tc.got) || tc.as(tc.got) != tc.got {
				t.Fatalf("%q becomes %q, then %q", s, tc.got, tc.as(tc.got))
			}
			for _, r := range tc.got {
				if !unicode.IsGraphic(r) && !strings.ContainsRune(tc.may, r) {
					t.Fatalf("%q becomes %q with %U", s, tc.got, r)
				}
			}
		}
		harmless := !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsGraphic(r) })
		if harmless && utf8.ValidString(s) && Line(s) != s {
			t.Fatalf("%q becomes %q", s, Line(s))
		}
	})
}

func TestFields(t *testing.T) {
	t.Parallel()
	type word string
	type inner struct{ Names []string }
	type outer struct {
		inner
		Inner  inner
		Word   word
		Ptr    *inner
		Nil    *inner
		Array  [2]string
		Map    map[string]inner
		Kept   string `printable:"-"`
		hidden string
		Time   time.Time
		Any    any
		N      int
	}
	const raw, safe = "a\x1bb", `a\x1bb`
	now := time.Now()
	made := func(s string) outer {
		return outer{inner{[]string{s}}, inner{[]string{"x", s}}, word(s), &inner{[]string{s}}, nil, [2]string{"", s},
			map[string]inner{s: {[]string{s}}, "plain": {}}, raw, raw, now, raw, 7}
	}
	got, want := made(raw), made(safe)
	want.inner = inner{[]string{raw}} // its type is not exported
	if Fields(&got); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}
