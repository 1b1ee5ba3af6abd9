package xl

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func base() Config {
	return Config{Name: "hb-0", VCPUs: 1, MemoryMiB: 160, Kernel: "/guest/vmlinux", Ramdisk: "/guest/initrd",
		Cmdline: "console=hvc0 quiet", Altp2m: Altp2mExternal}
}

func TestRender(t *testing.T) {
	t.Parallel()
	disk := base()
	disk.VCPUs, disk.Altp2m, disk.Disk, disk.TimeOffset = 2, "", "/dev/dm-0", 3600
	hvm := base()
	hvm.Kernel, hvm.Ramdisk, hvm.Cmdline, hvm.Disk, hvm.Disc = "", "", "", "/dev/dm-0", "/guest/disc.iso"
	for name, c := range map[string]Config{"altp2m": base(), "disk": disk, "hvm": hvm} {
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
	t.Parallel()
	for name, spoil := range map[string]func(*Config){
		"no name":    func(c *Config) { c.Name = "" },
		"name":       func(c *Config) { c.Name = "a b" },
		"no vCPU":    func(c *Config) { c.VCPUs = 0 },
		"many vCPUs": func(c *Config) { c.VCPUs = 33 },
		"memory":     func(c *Config) { c.MemoryMiB = 16 },
		"no kernel":  func(c *Config) { c.Kernel = "" },
		"quote":      func(c *Config) { c.Cmdline = `a" on_crash="destroy` },
		"backslash":  func(c *Config) { c.Cmdline = `a\n` },
		"line end":   func(c *Config) { c.Kernel = "/a\nb" },
		"disk":       func(c *Config) { c.Disk = "/dev/a,script=b" },
		"NUL":        func(c *Config) { c.Ramdisk = "1\x00" },
		"space":      func(c *Config) { c.Disk = "/dev/a b" },
		"newline":    func(c *Config) { c.Name = "a\n" },
		"two":        func(c *Config) { c.Disc = "/guest/disc.iso" },
		"disc":       func(c *Config) { *c = Config{Name: "a", VCPUs: 1, MemoryMiB: 64, Disc: "/a b"} },
		"disc quote": func(c *Config) { *c = Config{Name: "a", VCPUs: 1, MemoryMiB: 64, Disc: "/a\""} },
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
	// This program records its calls in place of xl.
	log := filepath.Join(dir, "calls")
	script := "#!/bin/sh\necho \"$*\" | sed 's,'" + dir + "'/,,' >> " + log +
		"\n[ \"$1\" = domid ] && echo 7\n[ \"$1\" != create ] || [ ! -e " + dir + "/fail ]\n"
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
	if err := ts.Cap(context.Background(), 7, 5); err != nil {
		t.Fatal(err)
	}
	if ts.Cap(context.Background(), 0, 5) == nil || ts.Cap(context.Background(), 7, -1) == nil {
		t.Error("dom0 or a guest was limited to what is no limit")
	}
	ctx := context.Background()
	if id, err = ts.Restore(ctx, base(), "/tmp/a.save"); err != nil || id != 7 {
		t.Errorf("Restore = %d, %v, want 7", id, err)
	}
	for _, domid := range []int{7, 0} {
		for what, err := range map[string]error{
			"vcpu-set": ts.SetVCPUs(ctx, domid, 1), "mem-set": ts.SetMemory(ctx, domid, 96),
			"save": ts.Save(ctx, domid, "/tmp/a.save"), "save -c": ts.Checkpoint(ctx, domid, "/dev/null"),
			"shutdown": ts.PowerOff(ctx, domid), "reboot": ts.Reboot(ctx, domid),
		} {
			if (err == nil) != (domid == 7) {
				t.Errorf("%s of domain %d: %v", what, domid, err)
			}
		}
	}
	if err := ts.CapControl(ctx, 10); err != nil || ts.CapControl(ctx, -1) == nil {
		t.Errorf("dom0 limited: %v", err)
	}
	os.WriteFile(filepath.Join(dir, "fail"), nil, 0o644)
	if _, err := ts.Create(context.Background(), base()); err == nil {
		t.Error("a failing xl create went unnoticed")
	}
	got, _ := os.ReadFile(log)
	want := "create hb-0.cfg\ndomid hb-0\ndestroy 7\nsched-credit2 -d 7 -c 5\nrestore hb-0.cfg /tmp/a.save\ndomid hb-0\n" +
		"vcpu-set -i 7 1\nmem-set 7 96m\nsave 7 /tmp/a.save\nsave -c 7 /dev/null\nshutdown 7\nreboot 7\n" +
		"sched-credit2 -d 0 -c 10\ncreate hb-0.cfg\ndestroy hb-0\n"
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Errorf("calls (-want +got):\n%s", d)
	}
}

func TestParseDomid(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{"1\n": 1, "7": 7, "32751\n": 32751} {
		if got, err := parseDomid(out); err != nil || got != want {
			t.Errorf("%q is domain %d, %v, want %d", out, got, err, want)
		}
	}
	for _, out := range []string{"", "\n", "0\n", "-1\n", "32752\n", "+7\n", "07\n", " 7\n", "7\n\n", "7 8\n",
		"hb-0 is an invalid domain identifier\n"} {
		if got, err := parseDomid(out); err == nil {
			t.Errorf("%q passes for domain %d", out, got)
		}
	}
}

// FuzzParseDomid: only the id of a guest in decimal, alone on a line, is accepted.
func FuzzParseDomid(f *testing.F) {
	for _, out := range []string{"7\n", "0\n", "32752\n", "7\r\n", "hb-0 is an invalid domain identifier (rc=-6)\n",
		"٣\n"} {
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, out string) {
		id, err := parseDomid(out)
		if err != nil {
			if id != 0 || len(err.Error()) > 600 {
				t.Fatalf("domain %d with an error of %d bytes", id, len(err.Error()))
			}
			return
		}
		if id < 1 || id > 32751 || strings.TrimSuffix(out, "\n") != fmt.Sprint(id) {
			t.Fatalf("%q is taken for domain %d", out, id)
		}
	})
}

// FuzzRender: each text of a guest is in a line of its own of the configuration,
// unchanged.
func FuzzRender(f *testing.F) {
	f.Add("hb-0", "/guest/vmlinux", "/guest/initrd", "console=hvc0 quiet", "/dev/dm-0")
	f.Add("a\" ", "\\", "'", "a=\"b\"", "/dev/a,script=b")
	f.Fuzz(func(t *testing.T, name, kernel, ramdisk, cmdline, disk string) {
		c := Config{Name: name, VCPUs: 1, MemoryMiB: 64, Kernel: kernel, Ramdisk: ramdisk, Cmdline: cmdline, Disk: disk}
		text, err := c.Render()
		if err != nil {
			return
		}
		lines := strings.Split(string(text), "\n")
		for key, value := range map[string]string{"name": name, "kernel": kernel, "ramdisk": ramdisk, "extra": cmdline} {
			n := 0
			for _, line := range lines {
				if strings.HasPrefix(line, key+" = ") {
					n++
					if line != key+" = \""+value+"\"" {
						t.Fatalf("%s %q became the line %q", key, value, line)
					}
				}
			}
			if want := min(1, len(value)); n != want {
				t.Fatalf("%d lines for %s %q", n, key, value)
			}
		}
		if want := 6 + 4 + min(1, len(ramdisk)) + min(1, len(cmdline)) + min(1, len(disk)) + 1; len(lines) != want {
			t.Fatalf("%d lines, want %d:\n%s", len(lines), want, text)
		}
	})
}
