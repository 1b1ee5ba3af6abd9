// Package printable makes strings of unknown origin safe to print: names that a guest
// chose, and strings of records, manifests and streams that somebody else wrote.
//
// What a terminal, a log file or an XML document would act on is replaced by the escape
// that Go source has for it, as in \x1b or \u202e: control characters, line breaks, the
// characters that turn the direction of writing, invisible formats, and bytes that are
// not UTF-8. All other text stays as it is, so the escaped text is stable: escaping it
// again changes nothing.
//
// Strings are escaped where they enter the program, once. What is special in one format
// only, such as a pipe in a Markdown table, is escaped by the printer of that format.
package printable

import (
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Line returns s as one printable line.
func Line(s string) string { return escape(s, false) }

// Text returns s as printable text, whose line breaks \n and \r\n stay.
func Text(s string) string { return escape(strings.ReplaceAll(s, "\r\n", "\n"), true) }

func escape(s string, lines bool) string {
	from := bad(s, lines)
	if from < 0 {
		return s
	}
	var b strings.Builder
	for from >= 0 {
		b.WriteString(s[:from])
		r, n := utf8.DecodeRuneInString(s[from:])
		if r == utf8.RuneError && n == 1 {
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(0x100|uint64(s[from]), 16)[1:])
		} else {
			quoted := strconv.QuoteToASCII(string(r))
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		s = s[from+n:]
		from = bad(s, lines)
	}
	b.WriteString(s)
	return b.String()
}

// bad returns the index of the first character in s that must be escaped, or -1.
func bad(s string, lines bool) int {
	for i, r := range s {
		switch {
		case ' ' <= r && r < 0x7f:
		case r == '\n' && lines:
		case r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD"): // a byte that is not UTF-8
			return i
		case !unicode.IsGraphic(r):
			return i
		}
	}
	return -1
}

// Fields makes a line of every string in the value that v points to: in structs, slices,
// arrays, maps with their keys, and behind pointers. It leaves fields that are not
// exported, interfaces, and fields with the tag `printable:"-"`.
func Fields(v any) { walk(reflect.ValueOf(v).Elem()) }

func walk(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		if s := v.String(); bad(s, false) >= 0 {
			v.SetString(Line(s))
		}
	case reflect.Pointer:
		if !v.IsNil() {
			walk(v.Elem())
		}
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			walk(v.Index(i))
		}
	case reflect.Map:
		walkMap(v)
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("printable") != "-" {
				walk(v.Field(i))
			}
		}
	}
}

// walkMap replaces each entry: neither a key nor a value of a map can be changed in place.
func walkMap(m reflect.Value) {
	settable := func(v reflect.Value) reflect.Value {
		c := reflect.New(v.Type()).Elem()
		c.Set(v)
		walk(c)
		return c
	}
	for _, key := range m.MapKeys() {
		value := m.MapIndex(key)
		m.SetMapIndex(key, reflect.Value{})
		m.SetMapIndex(settable(key), settable(value))
	}
}
