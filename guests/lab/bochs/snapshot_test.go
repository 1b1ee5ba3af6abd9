package bochs

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestReadTicks(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in   string
		want uint64
		ok   bool
	}{
		{"pc_system = {\n  a20_mask = 0xffffffffffffffff\n  ticksTotal = 3341400000\n  lastTimeUsec = 0\n}\n", 3341400000,
			true},
		{"pc_system = {\n  ticksTotal = -1\n}\n", 0, false},
		{"pc_system = {\n}\n", 0, false},
		{strings.Repeat("x", 1<<20), 0, false},
	} {
		if got, err := readTicks(strings.NewReader(tc.in)); got != tc.want || (err == nil) != tc.ok {
			t.Errorf("%.60q: %d, %v, want %d", tc.in, got, err, tc.want)
		}
	}
}

// FuzzReadTicks: the result is the number on the first line with a counter.
func FuzzReadTicks(f *testing.F) {
	f.Add("pc_system = {\n  ticksTotal = 3341400000\n}\n")
	f.Add("ticksTotal = 18446744073709551615\nticksTotal = 2")
	f.Add("  ticksTotal =  7\r\n")
	f.Add("xticksTotal = 7\nticksTotal = 0x7\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := readTicks(strings.NewReader(text))
		var want string
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(strings.TrimSpace(line), "ticksTotal = "); ok {
				want = value
				break
			}
		}
		n, perr := strconv.ParseUint(want, 10, 64)
		if err == nil && (perr != nil || n != got) {
			t.Fatalf("read %d, and the first line says %q", got, want)
		}
		if err != nil && perr == nil && len(text) < 1<<10 {
			t.Fatalf("%d is there and was not read: %v", n, err)
		}
	})
}

// FuzzSnapshot: a manifest that is accepted names only files in the folder of the
// state, and is the same when it is written and read again.
func FuzzSnapshot(f *testing.F) {
	whole, err := json.Marshal(Snapshot{
		Version: formatVersion, Key: "disc 1", Config: DefaultMachine().Config(), Ticks: 400_000,
		Files: map[string]int64{ramFile: 1 << 20, "cpu0": 12}, Sums: map[string]uint32{"cpu0": 1 << 31},
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	for _, name := range []string{"../x", "/etc/passwd", "a/b", ".", "..", "", "a\x00b"} {
		b, err := json.Marshal(Snapshot{Files: map[string]int64{name: 1}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"version":2,"files":{"cpu0":0}}`))
	f.Add([]byte(`{"version":2,"files":{"cpu0":1e30},"sums":{"cpu0":-1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSnapshot(data)
		if err != nil {
			return
		}
		s.Dir = "/snapshot"
		for name, size := range s.Files {
			if path := s.file(name); filepath.Dir(path) != "/snapshot/state" || strings.Contains(path, "\x00") || size < 1 {
				t.Fatalf("the file %q is %s with %d bytes", name, path, size)
			}
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseSnapshot(b)
		if err != nil || again.Version != s.Version || again.Key != s.Key || again.Config != s.Config ||
			again.Ticks != s.Ticks ||
			!maps.Equal(again.Files, s.Files) || !maps.Equal(again.Sums, s.Sums) {
			t.Fatalf("%s reads back as %+v, %v", b, again, err)
		}
		if err := s.check(DefaultMachine(), "disc 1"); err == nil {
			t.Fatal("a snapshot without a folder passes the check")
		}
	})
}
