package bochs

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func TestParseLogLine(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		line string
		want logEntry
		ok   bool
	}{
		{"03341700000i[PCI   ] setting SMRAM control register to 0x0a", logEntry{3341700000, levelInfo, "PCI",
			"setting SMRAM control register to 0x0a"}, true},
		{"14793091533e[CPU0  ] WRMSR: Unknown register 0x132", logEntry{14793091533, levelError, "CPU0",
			"WRMSR: Unknown register 0x132"}, true},
		{"123456789012345e[CPU0  ] late", logEntry{123456789012345, levelError, "CPU0", "late"}, true},
		{"00000000000p[      ] >>PANIC<< bochsrc:11: directive 'com1' not understood",
			logEntry{0, levelPanic, "", "bochsrc:11: directive 'com1' not understood"}, true},
		{"00000000000d[KBD   ] ", logEntry{0, levelDebug, "KBD", ""}, true},
		{"00000000000i[SIM   ] ends in a return\r", logEntry{0, levelInfo, "SIM", "ends in a return"}, true},
		{"========================================================================", logEntry{}, false},
		{"                        Bochs x86 Emulator 3.0", logEntry{}, false},
		{"", logEntry{}, false},
		{"00000000000", logEntry{}, false},
		{"00000000000i", logEntry{}, false},
		{"00000000000i[PCI", logEntry{}, false},
		{"00000000000x[PCI   ] other level", logEntry{}, false},
		{"00000000000i{PCI   ] other bracket", logEntry{}, false},
		{"99999999999999999999i[PCI   ] out of range", logEntry{}, false},
		{"0001i[PCI   ] short", logEntry{}, false},
	} {
		if got, ok := parseLogLine(tc.line); got != tc.want || ok != tc.ok {
			t.Errorf("%q: %+v, %v, want %+v, %v", tc.line, got, ok, tc.want, tc.ok)
		}
	}
}

const someLog = `========================================================================
                        Bochs x86 Emulator 3.0
========================================================================
00000000000i[      ] BXSHARE is set to 'share'
00000000100e[CPU0  ] one
00000000200p[CPU0  ] >>PANIC<< two
`

func TestScanLog(t *testing.T) {
	t.Parallel()
	stop := errors.New("stop")
	long := "00000000150i[SIM   ] " + strings.Repeat("x", maxLogLine) + "\n"
	for _, tc := range []struct {
		name, log string
		stopAt    string
		want      []string
		err       error
	}{
		{"whole", someLog, "", []string{"BXSHARE is set to 'share'", "one", "two"}, nil},
		{"half a line", strings.TrimSuffix(someLog, "\n"), "", []string{"BXSHARE is set to 'share'", "one"}, nil},
		{"long line", long + someLog, "", []string{"BXSHARE is set to 'share'", "one", "two"}, nil},
		{"empty", "", "", nil, nil},
		{"stopped", someLog, "one", []string{"BXSHARE is set to 'share'", "one"}, stop},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var got []string
			err := scanLog(iotest.HalfReader(strings.NewReader(tc.log)), func(e logEntry) error {
				got = append(got, e.Text)
				if e.Text == tc.stopAt {
					return stop
				}
				return nil
			})
			if !errors.Is(err, tc.err) || !slices.Equal(got, tc.want) {
				t.Errorf("%q, %v, want %q, %v", got, err, tc.want, tc.err)
			}
		})
	}
	if err := scanLog(iotest.ErrReader(stop), func(logEntry) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("error %v", err)
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if got := panics(path, 3); got != nil {
		t.Errorf("a file that is not there: %q", got)
	}
	writeFile(t, path, someLog+"00000000300p[MEM   ] >>PANIC<< three\n00000000301p[MEM   ] >>PANIC<< four\n")
	if got, want := panics(path, 2), []string{"three", "four"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "console")
	if got := tail(path, 3); got != nil {
		t.Errorf("a file that is not there: %q", got)
	}
	writeFile(t, path, strings.Repeat("boot\r\n", 10_000)+"\x1b[2J\x1b[1;31mred\x1b[0m\ttext\x00\x00\r\n\r\n\r\nhalf a "+
		"line \xff\x1b[12")
	if got, want := tail(path, 3), []string{"boot", "red text", "half a line ?"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	writeFile(t, path, "one\n")
	if got, want := tail(path, 3), []string{"one"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzLog reads arbitrary bytes as the emulator's log and as the machine's console.
// There is at most one entry a line, and no line can move a terminal's cursor.
func FuzzLog(f *testing.F) {
	f.Add([]byte(someLog))
	f.Add([]byte("00000000001e[CPU0  ] VMEXIT: EPT violation for guest paddr 0x000001a3f040 laddr 0xffffffff81a3f040\n"))
	f.Add([]byte("\x1b[\x1b[1mx\xf0\x9f\n  ticksTotal = 7\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		entries := 0
		err := scanLog(strings.NewReader(string(data)), func(e logEntry) error {
			entries++
			if strings.Contains(e.Text, "\n") {
				t.Fatalf("%q is more than a line", e.Text)
			}
			return nil
		})
		if err != nil || entries > strings.Count(string(data), "\n") {
			t.Fatalf("%d entries, %v", entries, err)
		}
		for line := range strings.Lines(string(data)) {
			s := printableLine([]byte(line))
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("%q can still move a cursor", s)
			}
		}
	})
}
