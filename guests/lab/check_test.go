package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hangbench/cgo/require"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
)

// put writes a file and the folders above it.
func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o644)); err != nil {
		t.Fatal(err)
	}
}

// wholeCache makes a cache with one thing of each kind, as small as they can be.
func wholeCache(t *testing.T) (c Cache, labDir string) {
	t.Helper()
	c = Cache(t.TempDir())
	content := []byte("a package")
	sum := sha256.Sum256(content)
	lock, err := json.Marshal(debian.Lock{Schema: 1, Packages: []debian.Package{{Name: "a", Version: "1", Arch: "amd64",
		File: "a_1_amd64.deb", SHA256: hex.EncodeToString(sum[:]), SizeBytes: int64(len(content))}}})
	if err != nil {
		t.Fatal(err)
	}
	put(t, debian.LockPath(c.packages()), lock)
	put(t, filepath.Join(debian.DebDir(c.packages()), "a_1_amd64.deb"), content)
	empty := &debian.Lock{Schema: 1}
	if err := debian.Unpack(t.Context(), empty, t.TempDir(), c.path("prefix-1"), nil, nil); err != nil {
		t.Fatal(err)
	}
	m := testManifest()
	l := &Lab{Manifest: m, Cache: c, Dir: filepath.Join(c.labs(), m.Key())}
	put(t, l.Disc(), []byte("the disc"))
	if err := l.writeManifest(); err != nil {
		t.Fatal(err)
	}
	memory := []byte("the memory")
	snapshot, err := json.Marshal(&bochs.Snapshot{
		Version: 2, Key: m.Key(), Config: m.Machine.Config(), Files: map[string]int64{"memory.ram": int64(len(memory))},
		Sums: map[string]uint32{"memory.ram": crc32.Checksum(memory, crc32.MakeTable(crc32.Castagnoli))},
	})
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(l.Snapshots(), "dom0", "snapshot.json"), snapshot)
	put(t, filepath.Join(l.Snapshots(), "dom0", "state", "memory.ram"), memory)
	return c, l.Dir
}

// TestCheck: whatever is damaged or left behind is found and named, removing it leaves
// the rest, and then the cache is whole.
func TestCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		damage func(c Cache, dir string) error
		path   string // of what is named, below the cache; LAB is the lab's folder
		why    string
	}{
		{"package", func(c Cache, dir string) error {
			return os.WriteFile(c.path("packages/debs/a_1_amd64.deb"), []byte("A package"), 0o644)
		}, "packages/debs/a_1_amd64.deb", "is damaged"},
		{"lock of packages", func(c Cache, dir string) error {
			return os.WriteFile(c.path("packages/packages.json"), []byte("{"), 0o644)
		}, "packages/packages.json", "read package lock"},
		{"prefix", func(c Cache, dir string) error { return os.Remove(c.path("prefix-1/lib")) }, "prefix-1", "lib"},
		{"disc cut short", func(c Cache, dir string) error { return os.Truncate(filepath.Join(dir, DiscFile), 5) },
			"LAB/lab.json", "lab.iso has 5 bytes, and was built with 8"},
		{"disc changed", func(c Cache, dir string) error {
			return os.WriteFile(filepath.Join(dir, DiscFile), []byte("the disk"), 0o644)
		}, "LAB/lab.json", "lab.iso has changed since it was built"},
		{"disc missing", func(c Cache, dir string) error { return os.Remove(filepath.Join(dir, DiscFile)) },
			"LAB/lab.json", "lab.iso"},
		{"manifest missing", func(c Cache, dir string) error { return os.Remove(filepath.Join(dir, ManifestFile)) },
			"LAB", errLeft.Error()},
		{"manifest cut short", func(c Cache, dir string) error { return os.Truncate(filepath.Join(dir, ManifestFile), 99) },
			"LAB", "read the lab's manifest"},
		{"lab under another name", func(c Cache, dir string) error { return os.Rename(dir, c.path("labs/0123")) },
			"labs/0123", "is of another lab"},
		{"memory of a snapshot", func(c Cache, dir string) error {
			return os.WriteFile(filepath.Join(dir, "snapshots/dom0/state/memory.ram"), []byte("thE memory"), 0o644)
		}, "LAB/snapshots/dom0", "memory.ram has changed since it was saved"},
		{"snapshot cut short", func(c Cache, dir string) error {
			return os.Remove(filepath.Join(dir, "snapshots/dom0/snapshot.json"))
		}, "LAB/snapshots/dom0", "no such file"},
		{"snapshot not saved", func(c Cache, dir string) error {
			return os.MkdirAll(filepath.Join(dir, "snapshots/.unfinished-17/state"), 0o755)
		}, "LAB/snapshots/.unfinished-17", errLeft.Error()},
		{"lab not built", func(c Cache, dir string) error { return os.MkdirAll(c.path("build-1/kernels"), 0o755) },
			"build-1", errLeft.Error()},
		{"disc not written", func(c Cache, dir string) error {
			return os.WriteFile(filepath.Join(dir, ".lab.iso-12"), nil, 0o600)
		}, "LAB/.lab.iso-12", errLeft.Error()},
		{"disc not made", func(c Cache, dir string) error {
			return os.MkdirAll(filepath.Join(dir, ".disc-12/boot"), 0o700)
		}, "LAB/.disc-12", errLeft.Error()},
		{"compiler's script not written", func(c Cache, dir string) error {
			return errors.Join(os.MkdirAll(c.path("toolchain/1/tools"), 0o755),
				os.WriteFile(c.path("toolchain/1/tools/.script-3"), nil, 0o600))
		}, "toolchain/1/tools/.script-3", errLeft.Error()},
		{"emulator's library not built", func(c Cache, dir string) error {
			return os.MkdirAll(c.path("toolchain/1/.unfinished-3"), 0o700)
		}, "toolchain/1/.unfinished-3", errLeft.Error()},
		{"prefix not unpacked", func(c Cache, dir string) error { return os.MkdirAll(c.path("prefix-1.new/usr"), 0o755) },
			"prefix-1.new", errLeft.Error()},
		{"prefix replaced", func(c Cache, dir string) error { return os.MkdirAll(c.path("prefix-1.old/usr"), 0o755) },
			"prefix-1.old", errLeft.Error()},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, dir := wholeCache(t)
			found, n, err := c.Check(t.Context())
			if err != nil || len(found) > 0 || n != (Counts{1, 1, 1, 1}) {
				t.Fatalf("whole: %v, %+v, %v", found, n, err)
			}
			if err := tc.damage(c, dir); err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(c.path(tc.path), c.path("LAB"), dir, 1)
			if found, _, err = c.Check(t.Context()); err != nil || len(found) != 1 || found[0].Path != want ||
				!strings.Contains(found[0].Why.Error(), tc.why) {
				t.Fatalf("found %v, %v; want %s: %s", found, err, want, tc.why)
			}
			if _, err := os.Lstat(want); err != nil {
				t.Errorf("looking at it has removed it: %v", err)
			}
			if err := c.Mend(found); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Lstat(want); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("it is still there: %v", err)
			}
			found, _, err = c.Check(t.Context())
			found = slices.DeleteFunc(found, func(d Damage) bool { return d.Path == dir && d.Why == errLeft })
			if err != nil || len(found) > 0 {
				t.Errorf("after it was mended: %v, %v", found, err)
			}
		})
	}
}

// TestCheckInUse: what another process is making is passed over, and what it uses is
// not removed.
func TestCheckInUse(t *testing.T) {
	t.Parallel()
	c, dir := wholeCache(t)
	err := errors.Join(os.Remove(c.path("prefix-1/lib")), os.Truncate(filepath.Join(dir, ManifestFile), 9))
	if err != nil {
		t.Fatal(err)
	}
	unpacks, err := lockFile(c.path("prefix-1.lock"), true)
	if err != nil {
		t.Fatal(err)
	}
	runs, err := lockFile(filepath.Join(dir, lockName), false)
	if err != nil {
		t.Fatal(err)
	}
	found, _, err := c.Check(t.Context())
	if err != nil || len(found) != 1 || found[0].Path != dir {
		t.Fatalf("found %v, %v", found, err)
	}
	if err := c.Mend(found); err == nil || !strings.Contains(err.Error(), dir+", which is damaged: it is in use") {
		t.Errorf("a lab that runs: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, DiscFile)); err != nil {
		t.Error(err)
	}
	unpacks.Close()
	runs.Close()
	if found, _, err = c.Check(t.Context()); err != nil || len(found) != 2 {
		t.Fatalf("found %v, %v", found, err)
	}
	if err := c.Mend(found); err != nil {
		t.Error(err)
	}
	builds, err := lockFile(c.path(buildLock), true)
	if err != nil {
		t.Fatal(err)
	}
	defer builds.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.Check(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted while another process builds: %v", err)
	}
}

// TestCheckEmpty: an empty cache is whole.
func TestCheckEmpty(t *testing.T) {
	t.Parallel()
	found, n, err := Cache(t.TempDir()).Check(t.Context())
	if err != nil || len(found) > 0 || n != (Counts{}) {
		t.Error(found, n, err)
	}
}

// TestSameProgram: the user's settings of Go do not change the lab's programs, and so
// not the lab.
func TestSameProgram(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		require.Missing(t, require.Go, "there is no go command")
	}
	o := Options{Source: filepath.Join("..", "..")}
	build := func() string {
		t.Helper()
		host, _, err := o.hostGo(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "init")
		err = o.golang(t.Context(), append(host, "CGO_ENABLED=0"), "build", "-trimpath", "-buildvcs=false",
			"-ldflags=-s -w -buildid=", "-o", out, initPackage)
		if err != nil {
			t.Fatal(err)
		}
		sum, err := hashFile(out)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	without := build()
	file := filepath.Join(t.TempDir(), "env")
	put(t, file, []byte("GOFLAGS=-gcflags=-l\nGOEXPERIMENT=norandomizedheapbase64\n"))
	for name, value := range map[string]string{
		"GOENV": file, "GOFLAGS": "-gcflags=-N", "GOEXPERIMENT": "nogreenteagc", "GOAMD64": "v3", "GOOS": "linux",
		"CGO_ENABLED": "1", "CGO_CFLAGS": "-O0",
	} {
		t.Setenv(name, value)
	}
	if with := build(); with != without {
		t.Errorf("the user's settings change a program of the lab: %s, %s", with, without)
	}
}
