package debian

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
)

// DefaultMirror is the mirror network of the Debian project.
const DefaultMirror = "http://deb.debian.org"

// Exclusion is a package that counts as installed. Neither it nor the packages that
// only it needs are fetched.
type Exclusion struct {
	Name string
	// Why is the reason why the lab works without it.
	Why string
}

// progress is the state of a step.
type progress struct {
	step                    string // its name
	packages, packagesTotal int
	bytes, bytesTotal       int64
}

// log logs the progress. A nil logger logs nothing.
func (p *progress) log(to *slog.Logger) {
	if to != nil {
		to.Info(p.step, "done_packages", p.packages, "total_packages", p.packagesTotal, "done_bytes", p.bytes,
			"total_bytes", p.bytesTotal)
	}
}

// Spec selects the packages that Fetch fetches.
type Spec struct {
	// Dir is the package folder, which Fetch makes if needed: packages.json, debs/
	// and, during a fetch, apt's own files.
	Dir string
	// Mirror is the http or https URL below which the mirror has debian/ and
	// debian-security/. The debian/ may be part of it, as in a sources.list. Empty means
	// DefaultMirror.
	Mirror string
	// Release is the packages' release. Empty means the lab's.
	Release Release
	// Wanted are the names of the packages. Their dependencies are fetched too, their
	// recommendations are not.
	Wanted []string
	// Excluded are the packages that are left out.
	Excluded []Exclusion
	// Log gets a record at each step, and several of a long one, with what is done
	// and the total in the attributes done_packages, total_packages, done_bytes and
	// total_bytes. It may be nil.
	Log *slog.Logger

	keyring []byte   // in tests, in place of the Debian archive keys
	env     []string // in tests, in place of this process's environment
}

func (s *Spec) excludedNames() []string {
	names := make([]string, len(s.Excluded))
	for i, e := range s.Excluded {
		names[i] = e.Name
	}
	return names
}

// logStep logs the beginning of a step whose size is not known.
func (s *Spec) logStep(step string) {
	if s.Log != nil {
		s.Log.Info(step)
	}
}

// indexSpaceBytes is the space that apt needs for the indices of two suites and its
// caches of them: 57 MB and twice about 40 MB, measured, and rounded up.
const indexSpaceBytes = 160 << 20

// CheckMirror returns an error of one sentence if the text is no address that
// Spec.Mirror can have.
func CheckMirror(mirror string) error {
	u, err := url.Parse(mirror)
	odd := func(r rune) bool { // apt would read another source
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(`"#?`, r)
	}
	if err != nil || u.Host == "" || strings.ContainsFunc(mirror, odd) ||
		!strings.HasPrefix(mirror, "http://") && !strings.HasPrefix(mirror, "https://") {
		return fmt.Errorf("the Debian mirror %q is not an http or https address such as %s", mirror, DefaultMirror)
	}
	if port, err := strconv.ParseUint(cmp.Or(u.Port(), "80"), 10, 16); err != nil || port == 0 {
		return fmt.Errorf("the Debian mirror %q has the port %s, which is not within 1 to 65535", mirror, u.Port())
	}
	return nil
}

// shown is the address of a mirror for messages: without its password.
func shown(mirror string) string {
	u, err := url.Parse(mirror)
	if err != nil {
		return mirror
	}
	return u.Redacted()
}

// Fetch puts every wanted package and its dependencies into DebDir(s.Dir), checks
// each file against the SHA-256 of Debian's signed index, and returns the lock that
// names them.
//
// If an earlier call has left a lock of the same spec, and all files have the right
// hash, Fetch does not use the network. Otherwise it resolves the packages from the
// mirror's present index and downloads the missing files. It continues a download
// that was interrupted. Calls from several processes with the same Dir take turns.
//
// The typed errors, each with a message of one sentence for the user, are
// *MissingToolError, *MirrorError, *GoneError, *SignatureError, *HashError (the damaged file is
// deleted, and the next call fetches it again) and *NoSpaceError.
func Fetch(ctx context.Context, s Spec) (*Lock, error) {
	if len(s.Wanted) == 0 {
		return nil, errors.New("fetch Debian packages: no package is wanted")
	}
	if s.Release == "" {
		s.Release = Lab().Release
	}
	if s.Mirror == "" {
		s.Mirror = DefaultMirror
	}
	if err := CheckMirror(s.Mirror); err != nil {
		return nil, err
	}
	dir, err := filepath.Abs(s.Dir)
	if err != nil {
		return nil, fmt.Errorf("fetch Debian packages: %w", err)
	}
	if strings.ContainsAny(dir, "\"\n[] \\") {
		// Neither apt's configuration nor its sources.list can quote these.
		return nil, fmt.Errorf("the package folder %q has a blank, quote, backslash or bracket in its path, "+
			"which apt cannot take: choose another cache folder", dir)
	}
	s.Dir = dir
	if err := os.MkdirAll(DebDir(dir), 0o755); err != nil {
		return nil, noSpace(fmt.Errorf("make the package folder: %w", err), dir)
	}
	held, err := flock(ctx, filepath.Join(dir, ".lock"))
	if err != nil {
		return nil, err
	}
	defer held.Close()

	lock, err := s.complete(ctx)
	if err != nil || lock != nil {
		return lock, err
	}
	if lock, err = s.fetch(ctx, held); err != nil {
		return nil, fmt.Errorf("fetch Debian packages: %w", err)
	}
	return lock, nil
}

// complete returns the lock of an earlier call if it is of the same spec and every
// file is undamaged. It returns nil if the mirror is needed.
func (s *Spec) complete(ctx context.Context) (*Lock, error) {
	lock, err := ReadLock(LockPath(s.Dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !lock.answers(s) {
		return nil, nil
	}
	if err := s.check(ctx, lock); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	return lock, s.tidy(lock)
}

// check compares every file with the lock. It wraps fs.ErrNotExist for a missing one.
func (s *Spec) check(ctx context.Context, lock *Lock) error {
	p := progress{step: "check packages", packagesTotal: len(lock.Packages), bytesTotal: lock.SizeBytes()}
	for _, pkg := range lock.Packages {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("check the packages: %w", err)
		}
		if err := pkg.verify(DebDir(s.Dir)); err != nil {
			return err
		}
		p.packages++
		p.bytes += pkg.SizeBytes
		p.log(s.Log)
	}
	return nil
}

// fetch resolves the packages, downloads and checks them, and writes the lock.
func (s *Spec) fetch(ctx context.Context, held *os.File) (*Lock, error) {
	for _, tool := range []string{"apt-get", "apt-cache", "apt-config"} {
		if _, err := aptTool(tool); err != nil {
			return nil, err
		}
	}
	if err := NeedSpace(s.Dir, indexSpaceBytes); err != nil {
		return nil, err
	}
	env := s.env
	if env == nil {
		env = os.Environ()
	}
	proxy, err := hostProxy(ctx, env)
	if err != nil {
		return nil, err
	}
	ring := s.keyring
	if ring == nil {
		if ring, err = s.Release.archiveKeys(); err != nil {
			return nil, fmt.Errorf("read the archive keys: %w", err)
		}
	}
	a := &apt{dir: s.aptDir(), debs: DebDir(s.Dir), mirror: s.Mirror, suites: s.Release.suites(), env: env, held: held}
	if _, newer := s.Release.base(); newer {
		a.prefer = string(s.Release)
	}
	if err := a.configure(ring, proxy); err != nil {
		return nil, err
	}
	s.logStep("read the package index")
	if _, err := a.run(ctx, "apt-get", "update", "-q"); err != nil {
		return nil, err
	}
	s.logStep("resolve dependencies")
	lock, err := s.resolve(ctx, a)
	if err != nil {
		return nil, err
	}
	if err := s.download(ctx, a, lock); err != nil {
		return nil, err
	}
	if err := s.check(ctx, lock); err != nil {
		return nil, err
	}
	if err := lock.write(LockPath(s.Dir)); err != nil {
		return nil, err
	}
	return lock, s.tidy(lock)
}

// aptDir returns the folder of apt's configuration, indices and caches.
func (s *Spec) aptDir() string { return filepath.Join(s.Dir, "apt") }

// tidy deletes files that are not needed when the lock is complete: apt's indices and
// caches, which take half as much space as the packages, and package files of earlier
// or interrupted calls.
func (s *Spec) tidy(lock *Lock) error {
	if err := os.RemoveAll(s.aptDir()); err != nil {
		return fmt.Errorf("delete apt's caches: %w", err)
	}
	return prune(DebDir(s.Dir), lock)
}

// install returns the arguments with which apt-get fetches the wanted packages.
func (s *Spec) install(option ...string) []string {
	return append(append([]string{"install", "-q", "-y", "--no-install-recommends"}, option...), s.Wanted...)
}

// resolve returns the lock of the wanted packages and their dependencies, without the
// excluded ones. apt computes the set; the signed index gives the hash of each file.
func (s *Spec) resolve(ctx context.Context, a *apt) (*Lock, error) {
	if len(s.Excluded) > 0 {
		// apt knows the newest version in both suites.
		out, err := a.run(ctx, "apt-cache", append([]string{"show", "--no-all-versions"}, s.excludedNames()...)...)
		if err != nil {
			return nil, err
		}
		var shown []stanza
		if err := readStanzas(bytes.NewReader(out), func(st stanza) error {
			shown = append(shown,
				st)
			return nil
		}); err != nil {
			return nil, fmt.Errorf("read apt-cache's answer: %w", err)
		}
		if err := a.exclude(shown); err != nil {
			return nil, err
		}
	}
	// apt leaves out files that are in its archive folder. Here that folder is empty, so
	// the plan does not depend on earlier calls.
	empty := "Dir::Cache::archives=" + filepath.Join(a.dir, "cache/plan")
	out, err := a.run(ctx, "apt-get", s.install("--print-uris", "-o", empty)...)
	if err != nil {
		return nil, err
	}
	plan, err := parsePlan(out)
	if err != nil {
		return nil, err
	}
	byPath := make(map[string]*planned, len(plan)) // key: archive and path
	for i := range plan {
		known := false
		for _, su := range a.suites {
			if p, ok := pathBelow(plan[i].uri, a.base(su.archive)); ok {
				byPath[su.archive+"/"+p] = &plan[i]
				known = true
			}
		}
		if !known {
			return nil, fmt.Errorf("apt wants to fetch %s, which is not on the mirror %s", shown(plan[i].uri), shown(a.mirror))
		}
	}
	lock := &Lock{Schema: lockSchema, Wanted: s.Wanted, Excluded: s.excludedNames()}
	for _, su := range a.suites {
		err := a.eachIndexed(ctx, su.name, func(st stanza) error {
			pl := byPath[su.archive+"/"+st["Filename"]]
			if pl == nil {
				return nil
			}
			p, err := st.pkg(su.name)
			if err != nil {
				return err
			}
			p.File = pl.file
			lock.Packages = append(lock.Packages, p)
			delete(byPath, su.archive+"/"+st["Filename"])
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read the index of %s: %w", su.name, err)
		}
	}
	for path := range byPath {
		return nil, fmt.Errorf("apt wants to fetch %s, which is not in the signed index", path)
	}
	slices.SortFunc(lock.Packages, func(x, y Package) int { return strings.Compare(x.Name, y.Name) })
	return lock, nil
}

// eachIndexed calls yield for each stanza of the suite's Packages index. apt has
// checked the index against the signed Release file.
func (a *apt) eachIndexed(ctx context.Context, suite string, yield func(stanza) error) error {
	out, err := a.run(ctx, "apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages",
		"Release: "+suite)
	if err != nil {
		return err
	}
	for name := range strings.Lines(string(out)) {
		f, err := os.Open(strings.TrimSpace(name))
		if err != nil {
			return err
		}
		err = readStanzas(f, yield)
		f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// download has apt fetch the missing files. It reports progress from their sizes.
func (s *Spec) download(ctx context.Context, a *apt, lock *Lock) error {
	p := a.downloaded(lock)
	if err := NeedSpace(s.Dir, p.bytesTotal-p.bytes+32<<20); err != nil {
		return err
	}
	p.log(s.Log)
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(300 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				a.downloaded(lock).log(s.Log)
			}
		}
	})
	_, err := a.run(ctx, "apt-get", s.install("--download-only")...)
	close(done)
	wg.Wait()
	if err != nil {
		return err
	}
	a.downloaded(lock).log(s.Log)
	return nil
}

// downloaded returns the progress: what is in the archive folder and in its partial/.
func (a *apt) downloaded(lock *Lock) *progress {
	p := &progress{step: "download packages", packagesTotal: len(lock.Packages), bytesTotal: lock.SizeBytes()}
	for _, pkg := range lock.Packages {
		if fi, err := os.Stat(filepath.Join(a.debs, pkg.File)); err == nil {
			p.packages++
			p.bytes += min(fi.Size(), pkg.SizeBytes)
		} else if fi, err := os.Stat(filepath.Join(a.debs, "partial", pkg.File)); err == nil {
			p.bytes += min(fi.Size(), pkg.SizeBytes)
		}
	}
	return p
}

// prune deletes every file of debs that the lock does not name.
func prune(debs string, lock *Lock) error {
	keep := make(map[string]bool, len(lock.Packages))
	for _, p := range lock.Packages {
		keep[p.File] = true
	}
	entries, err := os.ReadDir(debs)
	if err != nil {
		return fmt.Errorf("tidy the package folder: %w", err)
	}
	for _, e := range entries {
		if keep[e.Name()] {
			continue
		}
		if err := os.RemoveAll(filepath.Join(debs, e.Name())); err != nil {
			return fmt.Errorf("tidy the package folder: %w", err)
		}
	}
	return nil
}
