package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
)

// apt runs the host's apt with a configuration of its own. All its files are below
// dir; it downloads packages to debs.
type apt struct {
	dir    string
	debs   string
	mirror string
	suites []suite
	// prefer is a suite whose packages are taken before newer ones of other suites. It may
	// be empty.
	prefer string
	env    []string // environment of apt's programs
	// held is the locked file of the package folder. apt inherits it: if this process
	// is killed and apt goes on, the lock stays until apt ends.
	held *os.File
}

// base returns the URL of an archive on the mirror.
func (a *apt) base(archive string) string {
	root := strings.TrimRight(a.mirror, "/")
	root = strings.TrimRight(strings.TrimSuffix(root, "/debian"), "/")
	return root + "/" + archive
}

// confPath returns the path of the configuration, for the variable APT_CONFIG.
func (a *apt) confPath() string { return filepath.Join(a.dir, "apt.conf") }

// configure writes the configuration, the sources, the keyring and an empty package
// database, and makes the folders that apt needs. hostProxy is a part of the host's
// configuration, which is added to it.
func (a *apt) configure(keyring []byte, hostProxy string) error {
	for _, d := range []string{
		"etc/apt.conf.d", "etc/preferences.d", "etc/sources.list.d", "etc/trusted.gpg.d", "state/lists/partial",
		"cache/plan/partial", "log",
	} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return noSpace(fmt.Errorf("make apt's folders: %w", err), a.dir)
		}
	}
	if err := os.MkdirAll(filepath.Join(a.debs, "partial"), 0o755); err != nil {
		return noSpace(fmt.Errorf("make apt's folders: %w", err), a.debs)
	}
	ring := filepath.Join(a.dir, "etc/debian.gpg")
	var sources strings.Builder
	for _, s := range a.suites {
		fmt.Fprintf(&sources, "deb [arch=amd64 signed-by=%s] %s %s main\n", ring, a.base(s.archive), s.name)
	}
	for name, data := range map[string][]byte{
		"apt.conf":         []byte(a.config(hostProxy)),
		"etc/debian.gpg":   keyring,
		"etc/sources.list": []byte(sources.String()),
	} {
		if err := writeFile(filepath.Join(a.dir, name), data); err != nil {
			return fmt.Errorf("write apt's configuration: %w", err)
		}
	}
	return a.exclude(nil)
}

// config returns the text of the configuration. apt reads the file of APT_CONFIG
// first and finds all other files through it. Dir::Etc therefore replaces the host's
// apt.conf.d, hooks, sources, preferences and keys.
func (a *apt) config(hostProxy string) string {
	return fmt.Sprintf(`Dir "%[1]s";
Dir::Etc "%[2]s";
Dir::Etc::trusted "trusted.gpg";
Dir::Etc::trustedparts "trusted.gpg.d";
Dir::State "%[3]s";
Dir::State::status "%[4]s";
Dir::Cache "%[5]s";
Dir::Cache::archives "%[6]s";
Dir::Log "%[7]s";
Debug::NoLocking "1";
APT::Architecture "amd64";
APT::Architectures {"amd64";};
APT::Sandbox::User "";
APT::Install-Recommends "0";
APT::Install-Suggests "0";
APT::Solver "internal";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::GzipIndexes "0";
Acquire::PDiffs "0";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "0";
APT::Default-Release "%[8]s";
`, a.dir, filepath.Join(a.dir, "etc"), filepath.Join(a.dir, "state"), filepath.Join(a.dir, "status"),
		filepath.Join(a.dir, "cache"), a.debs, filepath.Join(a.dir, "log"), a.prefer) + hostProxy
}

// exclude writes the package database and the preferences. The given packages count
// as installed and are never fetched; no other package is installed.
func (a *apt) exclude(pkgs []stanza) error {
	var status, prefs strings.Builder
	for _, s := range pkgs {
		fmt.Fprintf(&status, "Package: %s\nStatus: install ok installed\nMaintainer: nobody\n"+
			"Description: left out of the lab\n", s["Package"])
		for _, f := range []string{"Version", "Architecture", "Multi-Arch", "Provides"} {
			if s[f] != "" {
				fmt.Fprintf(&status, "%s: %s\n", f, s[f])
			}
		}
		status.WriteString("\n")
		// The archive's package of the same version has other dependencies, so apt
		// takes it for an upgrade. A negative priority forbids that.
		fmt.Fprintf(&prefs, "Package: %s\nPin: release *\nPin-Priority: -1\n\n", s["Package"])
	}
	for name, text := range map[string]string{"status": status.String(), "etc/preferences": prefs.String()} {
		if err := writeFile(filepath.Join(a.dir, name), []byte(text)); err != nil {
			return fmt.Errorf("write apt's package database: %w", err)
		}
	}
	return nil
}

// run runs one of apt's programs with this configuration and returns its standard
// output.
func (a *apt) run(ctx context.Context, tool string, args ...string) ([]byte, error) {
	path, err := aptTool(tool)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	// After an interrupt, apt keeps a partial download, and the next call continues it.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(slices.Clip(a.env), "APT_CONFIG="+a.confPath(), "LC_ALL=C", "LANGUAGE=C")
	cmd.ExtraFiles = []*os.File{a.held}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s %s: %w", tool, args[0], ctx.Err())
		}
		return nil, a.explain(tool+" "+args[0], err, stderr.String()+stdout.String())
	}
	return stdout.Bytes(), nil
}

// aptTool finds one of apt's programs.
func aptTool(tool string) (string, error) {
	path, err := exec.LookPath(tool)
	if err != nil {
		return "", &MissingToolError{Tool: tool, Remedy: "the lab's packages are fetched with apt, so fill the cache once " +
			"on a Debian or Ubuntu machine (nothing is installed there) and copy the folder"}
	}
	return path, nil
}

var (
	signatureTrouble = regexp.MustCompile(`(?i)GPG error|not signed|NO_PUBKEY|BADSIG|EXPKEYSIG|REVKEYSIG|ERRSIG|` +
		`invalid signature|signature .*(invalid|could ?n.t be verified)|not valid yet|Release file .*expired|Missing key|` +
		`verification failed`)
	mirrorTrouble = regexp.MustCompile(`(?i)Failed to fetch|Could not resolve|Unable to connect|Could not connect|` +
		`Temporary failure|Connection (failed|refused|timed out)|does not have a Release file|Some index files failed|` +
		`Hash Sum mismatch|unexpected size`)
	// A suite that was removed from the mirror has no Release file.
	goneTrouble  = regexp.MustCompile(`(?i)The repository .* (no longer has|does not have) a Release file`)
	spaceTrouble = regexp.MustCompile(`(?i)No space left on device|enough free space|Disk quota exceeded`)
)

// explain returns one error for a failed command and its output.
func (a *apt) explain(what string, err error, output string) error {
	var first, detail string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		msg, isError := strings.CutPrefix(line, "E: ")
		if !isError {
			if msg, isError = strings.CutPrefix(line, "W: "); !isError {
				continue
			}
		}
		if first == "" {
			first = msg
		}
		if detail == "" && strings.HasPrefix(line, "E: ") {
			detail = msg
		}
	}
	if detail == "" {
		detail = first
	}
	switch {
	case spaceTrouble.MatchString(output):
		return &NoSpaceError{Path: a.debs}
	case goneTrouble.MatchString(output) && strings.Contains(output, "404"):
		return &GoneError{Mirror: shown(a.mirror), Detail: match(goneTrouble, output)}
	case signatureTrouble.MatchString(output):
		return &SignatureError{Mirror: shown(a.mirror), Detail: match(signatureTrouble, output)}
	case mirrorTrouble.MatchString(output):
		return &MirrorError{Mirror: shown(a.mirror), Detail: match(mirrorTrouble, output)}
	case detail != "":
		return fmt.Errorf("%s: %s: %w", what, detail, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// match returns the first line of apt's output that re matches, without apt's mark
// at its beginning.
func match(re *regexp.Regexp, output string) string {
	for line := range strings.Lines(output) {
		if re.MatchString(line) {
			line = strings.TrimSpace(line)
			for _, mark := range []string{"E: ", "W: ", "Err:"} {
				line = strings.TrimPrefix(line, mark)
			}
			return line
		}
	}
	return ""
}

// proxyLine matches the lines of `apt-config dump` with settings of the network:
// proxies (for all hosts or for one, fixed or found by a program) and the
// certificates that an intercepting proxy needs.
var proxyLine = regexp.MustCompile(`(?m)^Acquire::https?::` +
	`(?:Proxy|Proxy-Auto-Detect|ProxyAutoDetect|CaInfo|CaPath|SslCert|SslKey)(?:::[A-Za-z0-9.:_-]+)? "[^"\n]+";$`)

// hostProxy returns the settings of proxies in the host's apt configuration. apt
// reads http_proxy and similar variables of the environment by itself.
func hostProxy(ctx context.Context, env []string) (string, error) {
	path, err := aptTool("apt-config")
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, "dump")
	cmd.Env = append(slices.Clip(env), "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return "", fmt.Errorf("ask the host's apt for its proxy: %w", err)
	}
	return proxyLines(out), nil
}

func proxyLines(dump []byte) string {
	var b strings.Builder
	for _, l := range proxyLine.FindAll(dump, -1) {
		b.Write(l)
		b.WriteByte('\n')
	}
	return b.String()
}
