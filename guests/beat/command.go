package beat

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// MostCommand is the largest length of a command in bytes, with a byte behind each word.
const MostCommand = 512

// Fits reports whether a command is short enough for the page, and has no empty word.
func Fits(command []string) bool {
	n := 0
	for _, word := range command {
		n += len(word) + 1
	}
	odd := func(word string) bool { return word == "" || strings.ContainsRune(word, 0) }
	return n <= MostCommand && !slices.ContainsFunc(command, odd)
}

// SetCommand sets the program of the workload Exec and its arguments. It must be called
// before the workload is wanted. The error is for a command that does not fit.
func (p *Page) SetCommand(command []string) error {
	if !Fits(command) {
		return fmt.Errorf("command %.80q: more than %d bytes, or an empty word", command, MostCommand)
	}
	b := make([]byte, MostCommand)
	at := b[:0]
	for _, word := range command {
		at = append(append(at, word...), 0)
	}
	for i := 0; i < MostCommand; i += 8 {
		atomic.StoreUint64(p.word(offCommand+i), binary.LittleEndian.Uint64(b[i:]))
	}
	return nil
}

// Command returns the program of the workload Exec and its arguments, and none if dom0 has
// set none.
func (p *Page) Command() []string {
	var b []byte
	for i := 0; i < MostCommand; i += 8 {
		b = binary.LittleEndian.AppendUint64(b, atomic.LoadUint64(p.word(offCommand+i)))
	}
	var command []string
	for {
		word, rest, _ := strings.Cut(string(b), "\x00")
		if word == "" {
			return command
		}
		command, b = append(command, word), []byte(rest)
	}
}
