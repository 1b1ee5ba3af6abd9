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

// Level is the weight of an entry of the emulator's log.
type Level byte

// The levels of Bochs.
const (
	LevelDebug Level = 'd'
	LevelInfo  Level = 'i'
	LevelError Level = 'e'
	LevelPanic Level = 'p'
)

// LogEntry is one line of the emulator's log.
type LogEntry struct {
	// Tick is when it was written, in instructions since power-on (virtual time
	// times [Machine.IPS]).
	Tick   uint64
	Level  Level
	Module string // such as CPU0 or SER; empty for the emulator as such
	Text   string
}

// panicMark is what Bochs puts before the text of a panic.
const panicMark = ">>PANIC<< "

// ParseLogLine reads a line such as
//
//	00123456789e[CPU0  ] WRMSR: Unknown register 0x132
//
// It reports false for the lines of Bochs' banner and what else is not an entry.
func ParseLogLine(line string) (LogEntry, bool) {
	digits := 0
	for digits < len(line) && line[digits] >= '0' && line[digits] <= '9' {
		digits++
	}
	head, text, ok := strings.Cut(line[digits:], "] ")
	// At least 11 digits, the level, and the module between brackets.
	if !ok || digits < 11 || len(head) < 2 || head[1] != '[' {
		return LogEntry{}, false
	}
	tick, err := strconv.ParseUint(line[:digits], 10, 64)
	if err != nil {
		return LogEntry{}, false
	}
	e := LogEntry{Tick: tick, Level: Level(head[0]), Module: strings.TrimSpace(head[2:]), Text: strings.TrimSuffix(text, "\r")}
	switch e.Level {
	case LevelDebug, LevelInfo, LevelError:
	case LevelPanic:
		e.Text = strings.TrimPrefix(e.Text, panicMark)
	default:
		return LogEntry{}, false
	}
	return e, true
}

// maxLogLine is more than Bochs ever writes on a line: its buffer for a message
// has 1024 bytes.
const maxLogLine = 4096

// ScanLog calls f for each entry of a log, up to f's first error. Lines that
// are not entries, or longer than 4096 bytes, are passed over.
func ScanLog(r io.Reader, f func(LogEntry) error) error {
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
		// A line without a newline is still being written, or was cut off.
		if e, ok := ParseLogLine(strings.TrimSuffix(string(line), "\n")); ok && !skip && err == nil {
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

// EPTExit is a VM exit that the second level of address translation caused, as
// the emulator itself saw it: a count of EPT violations that neither hypervisor
// nor monitor had a hand in.
type EPTExit struct {
	Tick uint64 // instructions since power-on
	// Misconfiguration tells an invalid entry, as Xen leaves for memory-mapped
	// I/O, from a violation of permissions.
	Misconfiguration bool
	GuestPhysical    uint64 // address in the guest's physical memory
	// GuestLinear is the address the guest used, where there was one; the walk of
	// the guest's own page tables has none.
	GuestLinear uint64
}

// EPTExit reads an entry of the form
//
//	VMEXIT: EPT violation for guest paddr 0x000000001234 laddr 0x0000000000005678
//
// and reports false for any other.
func (e LogEntry) EPTExit() (EPTExit, bool) {
	rest, ok := strings.CutPrefix(e.Text, "VMEXIT: EPT ")
	if !ok || e.Level != LevelError {
		return EPTExit{}, false
	}
	what, rest, ok := strings.Cut(rest, " for guest paddr 0x")
	if !ok || what != "violation" && what != "misconfig" {
		return EPTExit{}, false
	}
	physical, linear, ok := strings.Cut(rest, " laddr 0x")
	if !ok {
		return EPTExit{}, false
	}
	x := EPTExit{Tick: e.Tick, Misconfiguration: what == "misconfig"}
	var err error
	if x.GuestPhysical, err = strconv.ParseUint(physical, 16, 64); err != nil {
		return EPTExit{}, false
	}
	if x.GuestLinear, err = strconv.ParseUint(linear, 16, 64); err != nil {
		return EPTExit{}, false
	}
	return x, true
}

// panics returns the last panics that a file names, at most limit of them. A file
// that is not there has none.
func panics(path string, limit int) []string {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	var found []string
	// Reading errors are left out: this decorates a failure that has happened.
	_ = ScanLog(f, func(e LogEntry) error {
		if e.Level == LevelPanic {
			found = append(found, e.Text)
		}
		if len(found) > limit {
			found = found[1:]
		}
		return nil
	})
	return found
}

// tail returns the last lines of a file, at most limit of them out of its last 16
// KiB, fit to be shown: without control characters and empty lines.
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

// printableLine drops what a terminal would act upon: escape sequences (ECMA-48
// control sequences, ESC [ ... letter) and control characters.
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
