package bochs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"
)

// level is the severity of an entry in the emulator's log.
type level byte

// The levels of Bochs.
const (
	levelDebug level = 'd'
	levelInfo  level = 'i'
	levelError level = 'e'
	levelPanic level = 'p'
)

// logEntry is one line of the emulator's log.
type logEntry struct {
	// Tick is the time of the entry, in instructions since power-on (virtual time
	// times [Machine.IPS]).
	Tick   uint64
	level  level
	Module string // such as CPU0 or SER; empty for the emulator as a whole
	Text   string
}

// panicMark is the text that Bochs writes before the text of a panic.
const panicMark = ">>PANIC<< "

// parseLogLine parses a line such as
//
//	00123456789e[CPU0  ] WRMSR: Unknown register 0x132
//
// ok is false for any other line, such as those of Bochs' banner.
func parseLogLine(line string) (e logEntry, ok bool) {
	digits := 0
	for digits < len(line) && line[digits] >= '0' && line[digits] <= '9' {
		digits++
	}
	head, text, found := strings.Cut(line[digits:], "] ")
	// At least 11 digits, the level, and the module between brackets.
	if !found || digits < 11 || len(head) < 2 || head[1] != '[' {
		return logEntry{}, false
	}
	tick, err := strconv.ParseUint(line[:digits], 10, 64)
	if err != nil {
		return logEntry{}, false
	}
	e = logEntry{
		Tick: tick, level: level(head[0]), Module: strings.TrimSpace(head[2:]), Text: strings.TrimSuffix(text, "\r"),
	}
	switch e.level {
	case levelDebug, levelInfo, levelError:
	case levelPanic:
		e.Text = strings.TrimPrefix(e.Text, panicMark)
	default:
		return logEntry{}, false
	}
	return e, true
}

// maxLogLine is the longest line in bytes that scanLog takes. Bochs' buffer for a
// message has 1024 bytes.
const maxLogLine = 4096

// scanLog calls f for each entry of a log. It stops at f's first error and returns
// it. It ignores lines that are not entries and lines of more than 4096 bytes.
func scanLog(r io.Reader, f func(logEntry) error) error {
	b := bufio.NewReaderSize(r, maxLogLine)
	skip := false
	for {
		line, err := b.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			skip = true
			continue
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("read the emulator's log: %w", err)
		}
		// A line without a newline is being written, or was cut off.
		if e, ok := parseLogLine(strings.TrimSuffix(string(line), "\n")); ok && !skip && err == nil {
			if err := f(e); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		skip = false
	}
}

// panics returns the texts of the last panics in a log file, at most limit of them.
// A file that cannot be read has none.
func panics(path string, limit int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var found []string
	// An error of reading is ignored: the panics only explain another failure.
	_ = scanLog(f, func(e logEntry) error {
		if e.level == levelPanic {
			found = append(found, e.Text)
		}
		if len(found) > limit {
			found = found[1:]
		}
		return nil
	})
	return found
}

// tail returns the last lines of a file, at most limit of them and from its last
// 16 KiB only. It leaves out control characters and empty lines.
func tail(path string, limit int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	const window = 16 << 10
	if info, err := f.Stat(); err == nil && info.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return nil
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, 2*window))
	if err != nil {
		return nil
	}
	var lines []string
	for line := range bytes.Lines(data) {
		if s := printableLine(line); s != "" {
			lines = append(lines, s)
		}
	}
	return lines[max(0, len(lines)-limit):]
}

// printableLine returns a line without what a terminal would act on: control
// characters and escape sequences (ECMA-48: ESC [ ... letter).
func printableLine(line []byte) string {
	var b strings.Builder
	s := strings.ToValidUTF8(string(line), "?")
	for len(s) > 0 {
		if rest, ok := strings.CutPrefix(s, "\x1b["); ok {
			end := strings.IndexFunc(rest, func(r rune) bool { return r >= '@' && r <= '~' })
			if end < 0 {
				break
			}
			s = rest[end+1:]
			continue
		}
		r, size := utf8.DecodeRuneInString(s)
		s = s[size:]
		if r == '\t' {
			r = ' '
		}
		if r >= ' ' && (r < 0x7f || r > 0x9f) {
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}
