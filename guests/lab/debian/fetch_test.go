package debian

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"hangbench/cgo/require"
)

// testMirror is a small signed Debian mirror on the loopback interface.
type testMirror struct {
	*httptest.Server
	keyring []byte
	sign    func(t *testing.T, text string) []byte

	mu    sync.Mutex
	files map[string][]byte // by URL path
	asked []string          // URL paths, in order
	// cut, if not empty, is the path of a file whose first answer ends in the middle.
	cut    string
	ranges int // requests for a part of a file
}

// newMirror starts an empty mirror. It skips the test if apt or gpg is missing.
func newMirror(t *testing.T) *testMirror {
	t.Helper()
	for _, tool := range []string{"apt-get", "apt-cache", "apt-config", "gpg"} {
		if _, err := exec.LookPath(tool); err != nil {
			require.Missing(t, require.Apt, "%s is not on this machine: fetching from a mirror is not tried", tool)
		}
	}
	m := &testMirror{files: make(map[string][]byte)}
	m.keyring, m.sign = newKey(t)
	m.Server = httptest.NewServer(http.HandlerFunc(m.serve))
	t.Cleanup(m.Close)
	return m
}

// newKey makes a signing key. It returns the public key, and a function that signs a
// text in the clear.
func newKey(t *testing.T) ([]byte, func(*testing.T, string) []byte) {
	t.Helper()
	// gpg's agent listens on a socket in its folder; socket paths are short.
	home, err := os.MkdirTemp("", "hb")
	if err != nil {
		t.Fatal(err)
	}
	gpg := func(t *testing.T, stdin string, args ...string) []byte {
		t.Helper()
		cmd := exec.Command("gpg", append([]string{"--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback",
			"--passphrase", ""}, args...)...)
		cmd.Stdin = strings.NewReader(stdin)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("gpg %q: %v\n%s", args, err, stderr.Bytes())
		}
		return out
	}
	t.Cleanup(func() {
		// The agent ends when its folder is removed.
		_ = exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run()
		os.RemoveAll(home)
	})
	gpg(t, "", "--quick-generate-key", "test mirror <test@example.org>", "ed25519", "sign", "0")
	return gpg(t, "", "--export"), func(t *testing.T, text string) []byte { return gpg(t, text, "--clearsign") }
}

func (m *testMirror) serve(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	data, ok := m.files[r.URL.Path]
	m.asked = append(m.asked, r.URL.Path)
	cut := m.cut != "" && m.cut == r.URL.Path
	if cut {
		m.cut = ""
	}
	if r.Header.Get("Range") != "" && strings.HasSuffix(r.URL.Path, ".deb") {
		m.ranges++
	}
	m.mu.Unlock()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Last-Modified", "Sun, 13 Sep 2020 12:26:40 GMT")
	if cut {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Header().Set("Accept-Ranges", "bytes")
		_, _ = w.Write(data[:len(data)/2])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	http.ServeContent(w, r, "", time.Date(2020, 9, 13, 12, 26, 40, 0, time.UTC), bytes.NewReader(data))
}

// requests returns the paths of the requests since the last call.
func (m *testMirror) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = nil
	return asked
}

// testDeb is a package of the test mirror.
type testDeb struct {
	name, version string
	fields        string // further control fields, each with its newline
	data          []byte
}

// publish replaces a suite's packages.
func (m *testMirror) publish(t *testing.T, suite, archive string, debs ...testDeb) {
	t.Helper()
	var index strings.Builder
	files := make(map[string][]byte)
	for _, d := range debs {
		path := fmt.Sprintf("pool/main/%s_%s_amd64.deb", d.name, d.version)
		files["/"+archive+"/"+path] = d.data
		fmt.Fprintf(&index, "Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: nobody\n%sFilename: %s\nSize: "+
			"%d\nSHA256: %x\nInstalled-Size: 1\nDescription: test\n\n",
			d.name, d.version, d.fields, path, len(d.data), sha256.Sum256(d.data))
	}
	release := fmt.Sprintf("Origin: Test\nSuite: %s\nCodename: %s\nDate: %s\nArchitectures: amd64\nComponents: "+
		"main\nSHA256:\n %x %d main/binary-amd64/Packages\n",
		suite, suite, time.Now().UTC().Add(-time.Hour).Format(time.RFC1123),
		sha256.Sum256([]byte(index.String())), index.Len())
	dist := "/" + archive + "/dists/" + suite + "/"
	files[dist+"InRelease"] = m.sign(t, release)
	files[dist+"main/binary-amd64/Packages"] = []byte(index.String())
	m.mu.Lock()
	defer m.mu.Unlock()
	for path := range m.files {
		if strings.HasPrefix(path, "/"+archive+"/") {
			delete(m.files, path)
		}
	}
	for path, data := range files {
		m.files[path] = data
	}
}

func (m *testMirror) spec(dir string) Spec {
	return Spec{Dir: dir, Mirror: m.URL, Release: Trixie, Wanted: []string{"tool"},
		Excluded: []Exclusion{{"heavy", "test"}}, keyring: m.keyring, env: withoutProxy()}
}

// withoutProxy returns this process's environment without a proxy for the mirror, which
// is on this machine.
func withoutProxy() []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToLower(v), "=")
		return strings.HasSuffix(name, "_proxy")
	})
	return append(env, "no_proxy=127.0.0.1")
}

// standard publishes: tool (needs lib and heavy, recommends extra), a newer lib
// in the security suite, heavy (needs heavier), heavier, extra.
func (m *testMirror) standard(t *testing.T) {
	t.Helper()
	m.publish(t, "trixie", "debian",
		testDeb{"tool", "1:1.0+x", "Depends: lib (>= 1), heavy (>= 3)\nRecommends: extra\n",
			makeDeb(t, ".xz", file{name: "./usr/bin/tool", mode: 0o755, data: "tool"})},
		testDeb{"lib", "1", "", makeDeb(t, ".xz", file{name: "./usr/lib/lib", mode: 0o644, data: "old"})},
		testDeb{"heavy", "3.1", "Depends: heavier\n", makeDeb(t, ".xz", file{name: "./usr/lib/heavy", mode: 0o644,
			data: "x"})},
		testDeb{"heavier", "1", "", makeDeb(t, ".xz")},
		testDeb{"extra", "1", "", makeDeb(t, ".xz")},
	)
	m.publish(t, "trixie-security", "debian-security",
		testDeb{"lib", "1+deb13u1", "", makeDeb(t, ".xz", file{name: "./usr/lib/lib", mode: 0o644, data: "new"})})
}

func TestFetch(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.standard(t)
	dir := filepath.Join(t.TempDir(), "packages")
	var steps []string
	spec := m.spec(dir)
	var log bytes.Buffer
	spec.Log = slog.New(slog.NewJSONHandler(&log, nil))
	lock, err := Fetch(t.Context(), spec)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(log.String()) {
		var r struct {
			Msg        string
			TotalBytes int64 `json:"total_bytes"`
		}
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(steps, r.Msg) {
			steps = append(steps, r.Msg)
		}
		if long := strings.HasSuffix(r.Msg, " packages"); long && r.TotalBytes != lock.SizeBytes() || !long &&
			r.TotalBytes != 0 {
			t.Errorf("step %q has %d bytes, the packages %d", r.Msg, r.TotalBytes, lock.SizeBytes())
		}
	}
	var got []string
	for _, p := range lock.Packages {
		got = append(got, p.Name+" "+p.Version+" "+p.Suite+" "+p.Path+" "+p.File)
	}
	want := []string{
		"lib 1+deb13u1 trixie-security pool/main/lib_1+deb13u1_amd64.deb lib_1+deb13u1_amd64.deb",
		"tool 1:1.0+x trixie pool/main/tool_1:1.0+x_amd64.deb tool_1%3a1.0+x_amd64.deb",
	}
	if !slices.Equal(got, want) {
		t.Fatalf("the lock has\n%q\nwant\n%q", got, want)
	}
	if want := []string{"read the package index", "resolve dependencies", "download packages",
		"check packages"}; !slices.Equal(steps, want) {
		t.Errorf("steps %q, want %q", steps, want)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{".lock", "debs", "packages.json"}; !slices.Equal(names, want) {
		t.Errorf("the folder has %q, want %q", names, want)
	}
	prefix := filepath.Join(dir, "prefix")
	if err := Unpack(t.Context(), lock, DebDir(dir), prefix, nil, nil); err != nil {
		t.Fatal(err)
	}
	if data, err := os.ReadFile(filepath.Join(prefix, "usr/lib/lib")); err != nil || string(data) != "new" {
		t.Errorf("the library is %q, %v", data, err)
	}
	m.requests()

	// A filled folder: no network.
	again, err := Fetch(t.Context(), m.spec(dir))
	if err != nil || again.Digest() != lock.Digest() {
		t.Errorf("second call: %v", err)
	}
	if asked := m.requests(); len(asked) > 0 {
		t.Errorf("the filled cache asked the mirror for %q", asked)
	}

	// A damaged file: the error names it, it is deleted, and the next call fetches it
	// alone.
	path := filepath.Join(DebDir(dir), lock.Packages[1].File)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 1
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Fetch(t.Context(), m.spec(dir))
	var damaged *HashError
	if !errors.As(err, &damaged) || damaged.Path != path {
		t.Errorf("a damaged file gives %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the damaged file is still there")
	}
	if _, err := Fetch(t.Context(), m.spec(dir)); err != nil {
		t.Errorf("after the damage: %v", err)
	}
	debs := slices.DeleteFunc(m.requests(), func(p string) bool { return !strings.HasSuffix(p, ".deb") })
	if want := []string{"/debian/pool/main/tool_1:1.0+x_amd64.deb"}; !slices.Equal(debs, want) {
		t.Errorf("fetched %q, want %q", debs, want)
	}

	// Another spec: the packages are resolved again, and old files removed.
	other := m.spec(dir)
	other.Wanted = []string{"extra"}
	if lock, err = Fetch(t.Context(), other); err != nil || len(lock.Packages) != 1 || lock.Packages[0].Name != "extra" {
		t.Errorf("another spec gives %+v, %v", lock, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a file of the old lock is still there")
	}
}

func TestFetchResumes(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	big := strings.Repeat("0123456789abcdef", 1<<16)
	m.publish(t, "trixie", "debian", testDeb{"tool", "1", "", makeDeb(t, "", file{name: "./big", mode: 0o644, data: big})},
		testDeb{"heavy", "1", "", makeDeb(t, "")})
	m.publish(t, "trixie-security", "debian-security")
	m.cut = "/debian/pool/main/tool_1_amd64.deb"
	if _, err := Fetch(t.Context(), m.spec(t.TempDir())); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ranges == 0 {
		t.Error("a download that was cut off began again from the start")
	}
}

func TestFetchErrors(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.standard(t)

	t.Run("unreachable", func(t *testing.T) {
		t.Parallel()
		spec := m.spec(t.TempDir())
		spec.Mirror = "http://127.0.0.1:1"
		_, err := Fetch(t.Context(), spec)
		var mirror *MirrorError
		if !errors.As(err, &mirror) || mirror.Mirror != spec.Mirror {
			t.Errorf("error %v", err)
		}
	})
	t.Run("another key", func(t *testing.T) {
		spec := m.spec(t.TempDir())
		spec.keyring = nil // Debian's own keys did not sign this mirror
		_, err := Fetch(t.Context(), spec)
		var signature *SignatureError
		if !errors.As(err, &signature) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("no such package", func(t *testing.T) {
		spec := m.spec(t.TempDir())
		spec.Wanted = []string{"nosuch"}
		if _, err := Fetch(t.Context(), spec); err == nil || !strings.Contains(err.Error(), "nosuch") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("broken dependency", func(t *testing.T) {
		spec := m.spec(t.TempDir())
		spec.Wanted = []string{"needy"}
		m.publish(t, "trixie-security", "debian-security", testDeb{"needy", "1", "Depends: nowhere\n", makeDeb(t, "")})
		if _, err := Fetch(t.Context(), spec); err == nil {
			t.Error("no error")
		}
	})
	t.Run("tampered package", func(t *testing.T) {
		m.standard(t)
		path := "/debian/pool/main/tool_1:1.0+x_amd64.deb"
		m.mu.Lock()
		bad := bytes.Clone(m.files[path])
		bad[100] ^= 1
		m.files[path] = bad
		m.mu.Unlock()
		dir := t.TempDir()
		_, err := Fetch(t.Context(), m.spec(dir))
		var mirror *MirrorError
		if !errors.As(err, &mirror) || !strings.Contains(err.Error(), "tool") {
			t.Errorf("error %v", err)
		}
		if _, err := os.Stat(LockPath(dir)); !errors.Is(err, fs.ErrNotExist) {
			t.Error("a lock was written")
		}
	})
	t.Run("canceled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Fetch(ctx, m.spec(t.TempDir())); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	})
}

// TestFetchWaits: two calls with one folder at the same time fetch each file once.
func TestFetchWaits(t *testing.T) {
	t.Parallel()
	m := newMirror(t)
	m.standard(t)
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if _, err := Fetch(t.Context(), m.spec(dir)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for _, p := range m.requests() {
		if strings.HasSuffix(p, ".deb") {
			n++
		}
	}
	if n != 2 {
		t.Errorf("two calls fetched %d package files, want 2", n)
	}
}
