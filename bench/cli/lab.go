package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"hangbench/bench/dom0"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/toolchain"
)

// labFlags say where the lab is kept and what it is made of.
type labFlags struct {
	cache, source, mirror string
	libvmi                bool // the lab with this machine's LibVMI
}

// mirrorEnv overrides the mirror of Debian's packages.
const mirrorEnv = "HANGBENCH_DEBIAN_MIRROR"

func (l *labFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.cache, "cache", "", "`folder` for packages, images and snapshots (default: $"+lab.CacheEnv+", else hangbench in the user's cache folder)")
	f.StringVar(&l.source, "source", "", "`root` of this project's source (default: found from the current folder and the program's)")
	f.StringVar(&l.mirror, "mirror", "", "base `URL` of a Debian mirror (default: $"+mirrorEnv+", else Debian's own)")
}

// addLibVMI adds the flag for commands that do not know by themselves what driver
// they need.
func (l *labFlags) addLibVMI(f *pflag.FlagSet) {
	f.BoolVar(&l.libvmi, "with-libvmi", false, "the lab whose dom0 has the LibVMI of this machine, as pkg-config finds it")
}

func (l *labFlags) open(env *Env) (lab.Cache, error) {
	c, err := lab.FindCache(l.cache, env.Getenv)
	if err != nil {
		return "", usageError{Err: err}
	}
	return c, nil
}

// build builds a lab.
func (l *labFlags) build(ctx context.Context, env *Env, p *progress, v lab.Variant) (*lab.Lab, error) {
	c, err := l.open(env)
	if err != nil {
		return nil, err
	}
	src, err := l.findSource()
	if err != nil {
		return nil, err
	}
	mirror := l.mirror
	if mirror == "" {
		mirror = env.Getenv(mirrorEnv)
	}
	var vmi *lab.LibVMI
	if l.libvmi {
		if vmi, err = lab.FindLibVMI(ctx); err != nil {
			return nil, missingError{Err: err}
		}
	}
	built, err := lab.Build(ctx, lab.Options{
		Cache: c, Source: src, LibVMI: vmi, Mirror: mirror, Fields: dom0.Fields(), Variant: v,
		Progress: func(step string, done, total int64) { p.bytes("lab: "+step, done, total) },
	})
	if err != nil {
		return nil, err
	}
	return built, nil
}

// findSource returns the root of this project's source: the dom0 program is
// built from it.
func (l *labFlags) findSource() (string, error) {
	isRoot := func(dir string) bool {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		return err == nil && strings.HasPrefix(string(b), "module hangbench\n")
	}
	if l.source != "" {
		if !isRoot(l.source) {
			return "", usagef("--source %s: that is not the root of hangbench's source", l.source)
		}
		return filepath.Abs(l.source)
	}
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if exe, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(exe))
	}
	for _, dir := range starts {
		for ; ; dir = filepath.Dir(dir) {
			if isRoot(dir) {
				return dir, nil
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return "", missingError{Err: errors.New("the lab's dom0 program is built from hangbench's source, which is not here: run in a checkout, or name it with --source")}
}

func labCommand(ctx context.Context, env *Env, args []string) error {
	return dispatch(ctx, env, "hangbench lab", []command{
		{"build", "", "fetch the packages and build the lab", labBuild},
		{"env", "", "print the shell variables with which Go builds against the lab's Xen", labEnv},
		{"up", "", "start a lab and keep it running", labUp},
		{"run", "PROGRAM [ARGUMENT...]", "run a program in dom0 of the running lab, or of one started for it", labRun},
		{"console", "", "print the console of the running lab's Xen and dom0", labConsole},
		{"down", "", "stop the running lab", labDown},
		{"status", "", "say what is in the cache and what runs", labStatus},
		{"bench", "", "measure boot, restore, memory and disk", labBench},
	}, args)
}

func labBuild(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab build", "", "Fetch the lab's packages and build its disc, unless the cache has it.")
	var v lab.Variant
	f.BoolVar(&v.Superpages, "superpages", false, "build the lab whose guests have superpages, for scenarios that need them")
	f.StringVar(&v.Programs, "programs", "", "build the lab whose guests may have these programs: `NAME` is "+strings.Join(lab.GuestPrograms(), " or "))
	var lf labFlags
	lf.add(f)
	lf.addLibVMI(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	if v.Programs != "" && !slices.Contains(lab.GuestPrograms(), v.Programs) {
		return usagef("--programs %s: there are %s", v.Programs, strings.Join(lab.GuestPrograms(), ", "))
	}
	p := newProgress(env, 0)
	l, err := lf.build(ctx, env, p, v)
	p.end()
	if err != nil {
		return err
	}
	m := l.Manifest
	fmt.Fprintf(env.Stdout, "lab %s\n  disc      %s\n  manifest  %s\n  xen       %s\n  dom0      Linux %s\n", m.Key(), l.Disc(),
		filepath.Join(l.Dir, lab.ManifestFile), m.XenVersion(), m.Dom0)
	if m.LibVMI != "" {
		fmt.Fprintf(env.Stdout, "  libvmi    %s\n", m.LibVMI)
	}
	for name, release := range m.Guests {
		fmt.Fprintf(env.Stdout, "  guest     %s: Linux %s\n", name, release)
	}
	return nil
}

// host builds the lab and opens it as a host.
func (l *labFlags) host(ctx context.Context, env *Env, p *progress) (*labhost.Host, error) {
	built, err := l.build(ctx, env, p, lab.Variant{})
	if err != nil {
		return nil, err
	}
	return l.hostOf(ctx, env, p, built, func(w string) { p.clear(); env.warn("%s", w) })
}

// hostOf opens a lab that is built as a host, which builds the others when they are
// needed.
func (l *labFlags) hostOf(ctx context.Context, env *Env, p *progress, built *lab.Lab, warn func(string)) (*labhost.Host, error) {
	h, err := labhost.New(ctx, built, warn, p.step)
	if err != nil {
		return nil, err
	}
	h.Variant = func(ctx context.Context, v lab.Variant) (*lab.Lab, error) { return l.build(ctx, env, p, v) }
	return h, nil
}

// labEnv prints what builds and runs Xen programs on this machine, by the lab's
// packages: for the tests of cgo/xenctrl, and for whoever changes it.
func labEnv(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "lab env", "", "Print shell variables (use eval) with which \"go build -tags xen\" compiles and links against the lab's Xen and with which \"go test -exec $HANGBENCH_EXEC\" runs the result here.")
	var lf labFlags
	lf.add(f)
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	p := newProgress(env, 0)
	l, err := lf.build(ctx, env, p, lab.Variant{})
	p.end()
	if err != nil {
		return err
	}
	ld, libs := toolchain.Loader(l.Prefix)
	vars := append(toolchain.GoEnv(l.CC), "HANGBENCH_PREFIX="+l.Prefix, "HANGBENCH_EXEC="+ld+" --library-path "+libs)
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		fmt.Fprintf(env.Stdout, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
	}
	return nil
}
