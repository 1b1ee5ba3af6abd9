package debian

import (
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"hangbench/cgo/require"
)

// TestArchiveKeys computes the fingerprints of the embedded keys: the SHA-1 of 0x99, the
// packet's length and the packet, for each public-key packet (tag 6) of version 4
// (RFC 4880, 12.2).
func TestArchiveKeys(t *testing.T) {
	t.Parallel()
	var ring []byte
	for _, r := range []Release{Trixie, Bookworm} {
		k, err := r.archiveKeys()
		if err != nil {
			t.Fatal(err)
		}
		ring = append(ring, k...)
	}
	if _, err := Release("sid").archiveKeys(); err == nil {
		t.Error("there are keys of a release that has none here")
	}
	var got []string
	for len(ring) > 0 {
		head, n, skip := ring[0], 0, 0
		var tag byte
		switch {
		case head&0xc0 == 0x80 && head&3 == 0: // old format, one length byte
			tag, n, skip = head>>2&15, int(ring[1]), 2
		case head&0xc0 == 0x80 && head&3 == 1: // old format, two
			tag, n, skip = head>>2&15, int(ring[1])<<8|int(ring[2]), 3
		case head&0xc0 == 0xc0 && ring[1] < 192: // new format, one
			tag, n, skip = head&63, int(ring[1]), 2
		case head&0xc0 == 0xc0 && ring[1] < 224: // new format, two
			tag, n, skip = head&63, (int(ring[1])-192)<<8+int(ring[2])+192, 3
		default:
			t.Fatalf("packet header %#x %#x", head, ring[1])
		}
		body := ring[skip : skip+n]
		if tag == 6 {
			h := sha1.New()
			h.Write([]byte{0x99, byte(n >> 8), byte(n)})
			h.Write(body)
			got = append(got, fmt.Sprintf("%X", h.Sum(nil)))
		}
		ring = ring[skip+n:]
	}
	slices.Sort(got)
	want := []string{
		"04B54C3CDCA79751B16BC6B5225629DF75B188BD",
		"05AB90340C0C5E797F44A8C8254CF3B5AEC0A8F0",
		"41587F7DB8C774BCCF131416762F67A0B2C39DE4",
		"4D64FEC119C2029067D6E791F8D2585B8783D481",
		"5E04A1E3223A19A20706E20F9904613D4CCE68C6",
		"B8B80B5B623EAB6AD8775C45B7C5D7D6350947F8",
	}
	if !slices.Equal(got, want) {
		t.Errorf("embedded keys %q, want %q", got, want)
	}
}

func TestProxyLines(t *testing.T) {
	t.Parallel()
	dump := `APT "";
Acquire::http "";
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::http::Proxy "";
Acquire::https::Proxy "http://proxy.example:3128/";
Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
Acquire::https::CaInfo "/etc/ca.pem";
Acquire::Check-Valid-Until "false";
Acquire::https::Verify-Peer "false";
APT::Update::Post-Invoke:: "rm -f /x";
Acquire::http::Proxy "a"; DPkg::Pre-Invoke "b";
`
	want := `Acquire::http::Proxy "http://proxy.example:3128";
Acquire::http::Proxy::mirror.example "DIRECT";
Acquire::https::Proxy "http://proxy.example:3128/";
Acquire::http::Proxy-Auto-Detect "/usr/bin/detect";
Acquire::https::CaInfo "/etc/ca.pem";
`
	if got := proxyLines([]byte(dump)); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestExplain(t *testing.T) {
	t.Parallel()
	a := &apt{mirror: "http://m", debs: "/cache/debs"}
	exit := errors.New("exit status 100")
	for _, c := range []struct {
		output string
		want   any // pointer to the error type's variable
		detail string
	}{
		{"Err:1 http://m trixie InRelease\n  Could not connect to m:80 (1.2.3.4). - connect (111: Connection refused)\nE: " +
			"Failed to fetch http://m/x  Could not connect\n", new(*MirrorError), "Could not connect to m:80"},
		{"E: Failed to fetch http://m/x  404  Not Found [IP: 1.2.3.4 80]\n", new(*MirrorError), "404"},
		{"Err:1 http://m/debian buzz Release\n  404  Not Found\nE: The repository 'http://m/debian buzz Release' does not " +
			"have a Release file.\n", new(*GoneError), "buzz Release"},
		{"W: GPG error: http://m trixie InRelease: The following signatures couldn't be " +
			"verified because the public key is not available: NO_PUBKEY 123\n" +
			"E: The repository 'http://m trixie InRelease' is not signed.\n", new(*SignatureError), "NO_PUBKEY"},
		{"W: OpenPGP signature verification failed: http://m: Sub-process /usr/bin/sqv returned an error code (1), error " +
			"message is: Missing key 123\nE: The repository is not signed.", new(*SignatureError), "Missing key"},
		{"E: Release file for http://m/InRelease is not valid yet (invalid for another 3h). Updates for this repository " +
			"will not be applied.\n", new(*SignatureError), "not valid yet"},
		{"E: Write error - write (28: No space left on device)\n", new(*NoSpaceError), "/cache/debs"},
		{"E: You don't have enough free space in /cache/debs/.\n", new(*NoSpaceError), "/cache/debs"},
		{"Reading...\nE: Unable to locate package nosuch\n", nil, "Unable to locate package nosuch"},
		{"", nil, "exit status 100"},
	} {
		err := a.explain("apt-get install", exit, c.output)
		if c.want != nil && !errors.As(err, c.want) {
			t.Errorf("%q became %T", c.output, err)
		}
		if !strings.Contains(err.Error(), c.detail) {
			t.Errorf("%q became %q, without %q", c.output, err, c.detail)
		}
	}
}

// TestConfigKeepsHostOut: apt itself reads the configuration, and nothing of the host's.
func TestConfigKeepsHostOut(t *testing.T) {
	t.Parallel()
	path, err := exec.LookPath("apt-config")
	if err != nil {
		require.Missing(t, require.Apt, "apt-config is not on this machine")
	}
	dir := filepath.Join(t.TempDir(), "päck")
	a := &apt{dir: filepath.Join(dir, "apt"), debs: filepath.Join(dir, "debs"), mirror: DefaultMirror}
	if err := a.configure([]byte("ring"), "Acquire::http::Proxy \"http://p:1\";\n"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "dump")
	cmd.Env = append(os.Environ(), "APT_CONFIG="+a.confPath())
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`Dir "` + a.dir + `"`, `Dir::Etc "` + a.dir + `/etc"`, `Dir::Cache::archives "` + a.debs + `"`,
		`APT::Sandbox::User ""`, `Acquire::GzipIndexes "0"`, `Acquire::http::Proxy "http://p:1"`,
		`APT::Architectures:: "amd64"`,
	} {
		if !strings.Contains(string(out), want+";\n") {
			t.Errorf("the configuration lacks %s", want)
		}
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "Invoke::") || strings.Contains(line, "Pre-Install-Pkgs::") ||
			strings.Contains(line, "AllowInsecureRepositories \"1\"") {
			t.Errorf("the host's %s is in force", line)
		}
	}
}

func TestMissingTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Fetch(t.Context(), Spec{Dir: t.TempDir(), Wanted: []string{"x"}})
	var missing *MissingToolError
	if !errors.As(err, &missing) || missing.Tool != "apt-get" || missing.Remedy == "" {
		t.Errorf("without apt: %v", err)
	}
}

func TestFetchRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec Spec
		want string
	}{
		{Spec{Dir: t.TempDir()}, "no package is wanted"},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "ftp://m"}, `"ftp://m"`},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "http://"}, `"http://"`},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "http://m/ x"}, `"http://m/ x"`},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "HTTP://m"}, `"HTTP://m"`},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "http://m/?x"}, `"http://m/?x"`},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "http://m/#x"}, `"http://m/#x"`},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: `http://m/"x`}, "is not an http"},
		{Spec{Dir: t.TempDir(), Wanted: []string{"x"}, Mirror: "http://m:65536"}, "the port 65536, which is not"},
		{Spec{Dir: filepath.Join(t.TempDir(), "a b"), Wanted: []string{"x"}}, "a b"},
	} {
		if _, err := Fetch(t.Context(), c.spec); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v gives %v", c.spec, err)
		}
	}
}

// TestShown: no message has the password of a mirror.
func TestShown(t *testing.T) {
	t.Parallel()
	a := &apt{mirror: "http://user:secret@m:8080/debian"}
	for _, output := range []string{
		"E: Could not connect", "E: 404 does not have a Release file", "E: NO_PUBKEY",
	} {
		err := a.explain("apt-get update", errors.New("exit status 100"), output)
		if !strings.Contains(err.Error(), "http://user:xxxxx@m:8080/debian") {
			t.Errorf("%s: %v", output, err)
		}
	}
}

// TestBase: a mirror is taken as users have it in their sources.list, too.
func TestBase(t *testing.T) {
	t.Parallel()
	for _, mirror := range []string{"http://m", "http://m/", "http://m/debian", "http://m/debian/", "http://m//debian//"} {
		a := &apt{mirror: mirror}
		if d, s := a.base("debian"), a.base("debian-security"); d != "http://m/debian" || s != "http://m/debian-security" {
			t.Errorf("%s: %s, %s", mirror, d, s)
		}
	}
	if got := (&apt{mirror: "http://m/mirrors/debian.org"}).base("debian"); got != "http://m/mirrors/debian.org/debian" {
		t.Error(got)
	}
}

func TestNeedSpace(t *testing.T) {
	dir := t.TempDir()
	if err := NeedSpace(dir, 1); err != nil {
		t.Error(err)
	}
	var full *NoSpaceError
	if err := NeedSpace(dir, 1<<62); !errors.As(err, &full) || full.NeedBytes != 1<<62 || full.FreeBytes <= 0 ||
		!strings.Contains(err.Error(), dir) {
		t.Errorf("4 EiB give %v", err)
	}
}

// TestOrphanKeepsLock: after a process was killed while its apt goes on, the lock is
// held. The test closes its own file, and a child of apt has the file open.
func TestOrphanKeepsLock(t *testing.T) {
	bin := t.TempDir()
	fifo := filepath.Join(bin, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n(read line <" + fifo + ") >/dev/null 2>&1 &\n"
	if err := os.WriteFile(filepath.Join(bin, "apt-get"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	path := filepath.Join(bin, "lock")
	held, err := flock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	a := &apt{dir: bin, held: held, env: os.Environ()}
	if _, err := a.run(t.Context(), "apt-get", "update"); err != nil {
		t.Fatal(err)
	}
	end, err := os.OpenFile(fifo, os.O_WRONLY, 0) // opens when the child reads
	if err != nil {
		t.Fatal(err)
	}
	held.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if f, err := flock(ctx, path); err == nil {
		f.Close()
		t.Error("the lock was free while the child was running")
	}
	if _, err := end.WriteString("done\n"); err != nil {
		t.Fatal(err)
	}
	end.Close()
	f, err := flock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
