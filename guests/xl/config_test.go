package xl

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func base() Config {
	return Config{Name: "hb-0", VCPUs: 1, MemoryMiB: 160, Kernel: "/guest/vmlinux", Ramdisk: "/guest/initrd",
		Cmdline: "console=hvc0 quiet", Altp2m: Altp2mExternal}
}

func TestRender(t *testing.T) {
	two := base()
	two.VCPUs, two.PinCPUs, two.Altp2m = 2, "1", Altp2mOff
	for name, c := range map[string]Config{"altp2m": base(), "pinned": two} {
		got, err := c.Render()
		if err != nil {
			t.Fatal(err)
		}
		golden := filepath.Join("testdata", name+".cfg")
		if *update {
			if err := os.WriteFile(golden, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(got)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

func TestRenderRejects(t *testing.T) {
	for name, spoil := range map[string]func(*Config){
		"no name":      func(c *Config) { c.Name = "" },
		"name":         func(c *Config) { c.Name = "a b" },
		"no vCPU":      func(c *Config) { c.VCPUs = 0 },
		"many vCPUs":   func(c *Config) { c.VCPUs = 33 },
		"memory":       func(c *Config) { c.MemoryMiB = 16 },
		"no kernel":    func(c *Config) { c.Kernel = "" },
		"quote":        func(c *Config) { c.Cmdline = `a" on_crash="destroy` },
		"line end":     func(c *Config) { c.Kernel = "/a\nb" },
		"disk":         func(c *Config) { c.Disk = "/dev/a,script=b" },
		"NUL in cpus=": func(c *Config) { c.PinCPUs = "1\x00" },
	} {
		c := base()
		spoil(&c)
		if got, err := c.Render(); err == nil {
			t.Errorf("%s: rendered %s", name, got)
		}
	}
}

func TestToolstack(t *testing.T) {
	dir := t.TempDir()
	ts := Toolstack{Path: filepath.Join(dir, "xl"), Dir: dir}
	if _, err := ts.Create(context.Background(), base()); !errors.Is(err, ErrNoXL) {
		t.Errorf("without xl: %v, want ErrNoXL", err)
	}
	// A stand-in that records its calls: what counts is which ones are made.
	log := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$1 $2\" | sed 's,'" + dir + "'/,,' >> " + log + "\n[ \"$1\" = domid ] && echo 7\n[ \"$1\" != create ] || [ ! -e " + dir + "/fail ]\n"
	if err := os.WriteFile(ts.Path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	id, err := ts.Create(context.Background(), base())
	if err != nil || id != 7 {
		t.Fatalf("Create = %d, %v, want 7", id, err)
	}
	if err := ts.Destroy(context.Background(), 7); err != nil {
		t.Fatal(err)
	}
	if err := ts.Destroy(context.Background(), 0); err == nil {
		t.Error("destroying dom0 was not refused")
	}
	os.WriteFile(filepath.Join(dir, "fail"), nil, 0o644)
	if _, err := ts.Create(context.Background(), base()); err == nil {
		t.Error("a failing xl create went unnoticed")
	}
	got, _ := os.ReadFile(log)
	want := "create hb-0.cfg\ndomid hb-0\ndestroy 7\ncreate hb-0.cfg\ndestroy hb-0\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}
