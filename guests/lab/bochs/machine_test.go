package bochs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, m := range map[string]Machine{
		"default": DefaultMachine(),
		"smp":     {MemoryMiB: 768, CPUs: 2, IPS: 50_000_000, Time0: 1},
	} {
		t.Run(name, func(t *testing.T) {
			if err := m.Validate(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".bochsrc")
			if *update {
				writeFile(t, path, m.Config())
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := m.Config(); got != string(want) {
				t.Errorf("the configuration is\n%s\nand not as in %s (go test -update writes it)", got, path)
			}
			// Bochs' own limit for a line.
			for line := range strings.Lines(m.Config()) {
				if len(line) > 511 {
					t.Errorf("a line of %d bytes", len(line))
				}
			}
		})
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		change func(m *Machine)
		want   string
	}{
		{"default", func(*Machine) {}, ""},
		{"least", func(m *Machine) { *m = Machine{64, 1, 1_000_000, 1} }, ""},
		{"most", func(m *Machine) { *m = Machine{2048, 8, 2_000_000_000, 1<<32 - 1} }, ""},
		{"no memory", func(m *Machine) { m.MemoryMiB = 63 }, "memory in MiB is 63: choose 64 to 2048"},
		{"much memory", func(m *Machine) { m.MemoryMiB = 2049 }, "memory in MiB"},
		{"no CPU", func(m *Machine) { m.CPUs = 0 }, "number of CPUs is 0"},
		{"many CPUs", func(m *Machine) { m.CPUs = 9 }, "number of CPUs is 9"},
		{"slow", func(m *Machine) { m.IPS = 999_999 }, "instructions a second"},
		{"now", func(m *Machine) { m.Time0 = 0 }, "power-on time is 0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := DefaultMachine()
			tc.change(&m)
			err := m.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
