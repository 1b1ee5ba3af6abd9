package results

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"hangbench/results/printable"
)

// A run's file of checksums has one line for each record:
//
//	<trial> <checksum of the record> <checksum of the line so far>
//
// Both checksums are CRC-32C in eight hexadecimal digits. That of the record is over its
// line in trials.jsonl without the newline. Lines are found by the trial and may stand in
// any order, so that records are copied from run to run together with their lines. The
// second checksum tells a damaged line from a damaged record.
//
// The store writes a record before its checksum. A record without one is therefore
// possible after a kill, and every record of an older run is without one: such a record is
// checked by its values and the plan alone.

// castagnoli is the polynomial of CRC-32C (RFC 3720, appendix B.4). It finds every change
// of up to 5 bits in a record, and every burst of up to 32 bits.
func castagnoli(data []byte) uint32 { return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli)) }

// sumLine is the line of a record in the file of checksums.
func sumLine(trial int, sum uint32) []byte {
	line := fmt.Appendf(nil, "%d %08x", trial, sum)
	return fmt.Appendf(line, " %08x\n", castagnoli(line))
}

// parseSum reads a line without its newline.
func parseSum(line []byte) (trial int, sum uint32, err error) {
	var own uint32
	if n, err := fmt.Sscanf(string(line), "%d %x %x", &trial, &sum, &own); n != 3 || err != nil {
		return 0, 0, errors.New("not a trial with two checksums")
	}
	if trial < 0 || !bytes.Equal(line, bytes.TrimSuffix(sumLine(trial, sum), []byte("\n"))) {
		return 0, 0, errors.New("the line does not match its own checksum")
	}
	return trial, sum, nil
}

// readSums returns the checksums of the run in dir by trial, of which it has so many
// planned; none if the run has no file of them. Damaged lines are left out and told, but
// for a last line that was cut short.
func readSums(dir string, planned int) (sums map[int]uint32, damaged []error, err error) {
	f, err := OpenFile(filepath.Join(dir, SumsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("read checksums: %w", err)
	}
	defer f.Close()
	sums, damaged, err = scanSums(f, planned)
	if err != nil {
		return nil, nil, fmt.Errorf("read checksums: %s: %w", f.Name(), err)
	}
	return sums, damaged, nil
}

func scanSums(r io.Reader, planned int) (sums map[int]uint32, damaged []error, err error) {
	sums = make(map[int]uint32)
	br := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, complete, err := readLine(br)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, nil, err
		}
		if err != nil && len(line) == 0 {
			return sums, damaged, nil
		}
		trial, sum, perr := parseSum(line)
		switch {
		case perr == nil && complete:
			if trial < planned {
				sums[trial] = sum
			}
		case err == nil && len(damaged) < mostBad: // not cut short
			damaged = append(damaged, fmt.Errorf("%s:%d: %w: the record is checked by its values alone", SumsFile, n, perr))
		}
		if err != nil {
			return sums, damaged, nil
		}
	}
}

// sumsOf is the file of checksums for records, in plan order.
func sumsOf(sums map[int]uint32) []byte {
	var b []byte
	for _, trial := range slices.Sorted(maps.Keys(sums)) {
		b = append(b, sumLine(trial, sums[trial])...)
	}
	return b
}

// OpenFile opens a regular file that the user has named, to read it. A device or a pipe in
// its place could be read for ever. The error says what to do.
func OpenFile(path string) (*os.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, printable.File(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: give the path of a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, printable.File(err)
	}
	return f, nil
}
