package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"hangbench/bench/dom0"
	"hangbench/bench/exit"
	"hangbench/bench/labhost"
	"hangbench/guests/lab"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/toolchain"
	"hangbench/scenarios/suites"
)

// labFlags are the folders and the mirror of the lab.
type labFlags struct {
	cache, source, mirror string
	xen                   string            // release of Xen, or file:PATH; empty for the ordinary lab's
	xenDebs               string            // folder of packages of Xen
	givenXen              *lab.GivenXen     // that of xen or xenDebs, when it has been read
	libvmi                bool              // use the lab with this machine's LibVMI
	kernels               map[string]string // guest kernels that the user brings: lab.Options.KernelFiles
}

// mirrorEnv is the environment variable that selects another mirror of Debian's packages.
const mirrorEnv = "HANGBENCH_DEBIAN_MIRROR"

func (l *labFlags) add(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&l.cache, "cache", "",
		"`folder` for packages, images and snapshots (default: $"+lab.CacheEnv+", else hangbench in the user's cache folder)")
	f.StringVar(&l.source, "source", "",
		"`root` of this project's source (default: found from the current folder and the program's)")
	f.StringVar(&l.mirror, "mirror", "",
		"`URL` of a Debian mirror, as in a sources.list (default: $"+mirrorEnv+", else Debian's own)")
	completeFlag(c, "cache", folders)
	completeFlag(c, "source", folders)
}

// addLibVMI adds the flag of commands that cannot derive from their other flags
// whether they need LibVMI.
func (l *labFlags) addLibVMI(c *cobra.Command) {
	c.Flags().BoolVar(&l.libvmi, "with-libvmi", false,
		"the lab whose dom0 has the LibVMI of this machine, as pkg-config finds it")
}

// addXen adds the flags of commands that run a lab.
func (l *labFlags) addXen(c *cobra.Command) {
	c.Flags().StringVar(&l.xen, "xen", "",
		"`release` of Xen in the lab: "+strings.Join(lab.Xens(), " or ")+"; or "+lab.XenFilePrefix+"PATH of a xen.gz, with "+
			"the tools of the one that has its interface (default: "+lab.Xens()[0]+")")
	c.Flags().StringVar(&l.xenDebs, "xen-debs", "",
		"`folder` of Debian packages with the lab's Xen: hypervisor, tools, libraries and headers")
	completeFlag(c, "xen", choices(lab.Xens()...))
	completeFlag(c, "xen-debs", folders)
}

// xenFlag returns the flag that names the lab's Xen, as the user gave it, or "".
func (l *labFlags) xenFlag() string {
	switch {
	case l.xenDebs != "":
		return "--xen-debs " + l.xenDebs
	case l.xen != "":
		return "--xen " + l.xen
	}
	return ""
}

// findXen checks the flags that name the lab's Xen, and reads the Xen that the user brings.
// All labs of a command have the same one.
func (l *labFlags) findXen() (err error) {
	path, file := strings.CutPrefix(l.xen, lab.XenFilePrefix)
	switch {
	case l.givenXen != nil:
	case l.xen != "" && l.xenDebs != "":
		return exit.Usagef("--xen %s and --xen-debs %s: the lab has one Xen: give one of them", l.xen, l.xenDebs)
	case l.xenDebs != "":
		l.givenXen, err = lab.OpenXenDebs(l.xenDebs)
	case l.xen == "" || slices.Contains(lab.Xens(), l.xen):
	case !file || path == "":
		return exit.Usagef("--xen %q: there are %s, and %sPATH", l.xen, strings.Join(lab.Xens(), ", "), lab.XenFilePrefix)
	default:
		l.givenXen, err = lab.OpenXenFile(path)
	}
	if err != nil {
		return exit.UsageError{Err: err}
	}
	return nil
}

func (l *labFlags) open(env *Env) (lab.Cache, error) {
	c, err := lab.FindCache(l.cache, env.Getenv)
	if err != nil {
		return "", exit.UsageError{Err: err}
	}
	return c, nil
}

// build builds a lab.
func (l *labFlags) build(ctx context.Context, a *app, v lab.Variant) (*lab.Lab, error) {
	if err := l.findXen(); err != nil {
		return nil, err
	}
	if v.Xen == "" && l.givenXen == nil {
		v.Xen = lab.VariantXen(l.xen)
	}
	if own := lab.Xens()[0]; v.HVM && (v.Xen != "" || l.givenXen != nil) {
		return nil, exit.Usagef("the lab has guests of type hvm on its own Xen %s alone: remove type: hvm or --hvm, "+
			"or the other Xen", own)
	}
	c, err := l.open(a.Env)
	if err != nil {
		return nil, err
	}
	if err := c.Make(); err != nil {
		return nil, exit.UsageError{Err: err}
	}
	if err := tryFolder("--cache", string(c)); err != nil {
		return nil, err
	}
	a.cache = c
	src, err := l.findSource()
	if err != nil {
		return nil, err
	}
	mirror, err := l.findMirror(a.Env)
	if err != nil {
		return nil, err
	}
	var vmi *lab.LibVMI
	if l.libvmi {
		if vmi, err = lab.FindLibVMI(ctx); err != nil {
			return nil, exit.MissingError{Err: err}
		}
	}
	built, err := lab.Build(ctx, lab.Options{
		Cache: c, Source: src, LibVMI: vmi, Mirror: mirror, Fields: dom0.Fields(), Variant: v, KernelFiles: l.kernels,
		GivenXen: l.givenXen, Log: a.log,
	})
	kernel, xen := (*lab.KernelFileError)(nil), (*lab.GivenXenError)(nil)
	if (errors.As(err, &kernel) || errors.As(err, &xen)) && ctx.Err() == nil {
		return nil, exit.UsageError{Err: err}
	}
	return built, err
}

// findMirror returns the mirror that the user names, and an empty text for none.
func (l *labFlags) findMirror(env *Env) (string, error) {
	name, mirror := "--mirror", l.mirror
	if mirror == "" {
		name, mirror = mirrorEnv, env.Getenv(mirrorEnv)
	}
	if mirror == "" {
		return "", nil
	}
	if err := debian.CheckMirror(mirror); err != nil {
		return "", exit.Usagef("%s: %w", name, err)
	}
	return mirror, nil
}

// makeFolder makes a folder, and those above it, if it is not there.
func makeFolder(dir string) error {
	err := os.MkdirAll(dir, 0o755)
	if target, lerr := os.Readlink(dir); err != nil && lerr == nil {
		return fmt.Errorf("it is a link to %s, where no folder is: %w", target, err)
	}
	return err
}

// tryFolder makes the folder that a flag names and writes a file to it, so that a mistake
// is found before anything is fetched or built. It removes what it made.
func tryFolder(flag, dir string) error {
	if dir == "" {
		return exit.Usagef("%s %q: name a folder", flag, dir)
	}
	var made []string // from the deepest
	for d := filepath.Clean(dir); ; d = filepath.Dir(d) {
		if _, err := os.Lstat(d); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made = append(made, d)
	}
	defer func() {
		for _, d := range made {
			os.Remove(d)
		}
	}()
	err := makeFolder(dir)
	var f *os.File
	if err == nil {
		f, err = os.CreateTemp(dir, ".hangbench-*")
	}
	if err == nil {
		err = os.Remove(f.Name()) // first: whoever is killed leaves nothing
		_, werr := f.Write(make([]byte, 4096))
		err = errors.Join(err, werr, f.Close())
	}
	switch {
	case noSpace(err):
		return spaceError{fmt.Errorf("%s %s: %w: free some, or name another folder", flag, dir, err)}
	case err != nil:
		return exit.Usagef("%s %s: %w: name another folder", flag, dir, err)
	}
	return nil
}

// findSource returns the root of this project's source. The program for dom0 is built
// from it.
func (l *labFlags) findSource() (string, error) {
	isRoot := func(dir string) bool {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		return err == nil && strings.HasPrefix(string(b), "module hangbench\n")
	}
	if l.source != "" {
		if !isRoot(l.source) {
			return "", exit.Usagef("--source %s: that is not the root of hangbench's source", l.source)
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
	return "", exit.MissingError{Err: errors.New("the lab's dom0 program is built from hangbench's source, " +
		"which is not here: run in a checkout, or name it with --source")}
}

func (a *app) labCommand() *cobra.Command {
	old := a.benchLab("bench")
	old.Hidden = true
	run := old.RunE
	old.RunE = func(c *cobra.Command, args []string) error {
		a.warn("\"lab bench\" is now \"bench lab\"; the old name still works")
		return run(c, args)
	}
	return a.group("lab", "make and use the emulated Xen host",
		a.labBuild(), a.labCheck(), a.labEnv(), a.labUp(), a.labRun(), a.labConsole(), a.labDown(), a.labStatus(), old)
}

func (a *app) labBuild() *cobra.Command {
	c := a.command("build", "fetch the packages and build the lab",
		"Fetch the lab's packages and build its disc, unless the cache has it. What is damaged in the cache is removed or "+
			"made anew.", 0, 0)
	var v lab.Variant
	c.Flags().BoolVar(&v.Superpages, "superpages", false,
		"build the lab whose guests have superpages, for scenarios that need them")
	c.Flags().StringVar(&v.Programs, "programs", "",
		"build the lab whose guests may have these programs: `NAME` is "+strings.Join(lab.GuestPrograms(), " or "))
	c.Flags().BoolVar(&v.HVM, "hvm", false, "build the lab whose guests are of type HVM")
	kernel := c.Flags().String("kernel", "",
		"build the lab whose guests have this kernel: `NAME` is "+suites.KernelFile+"PATH, or one of "+
			strings.Join(lab.GuestKernels(), ", "))
	var lf labFlags
	lf.add(c)
	lf.addLibVMI(c)
	lf.addXen(c)
	completeFlag(c, "programs", choices(lab.GuestPrograms()...))
	completeFlag(c, "kernel", choices(lab.GuestKernels()...))
	c.RunE = func(c *cobra.Command, _ []string) error {
		if v.Programs != "" && !slices.Contains(lab.GuestPrograms(), v.Programs) {
			return exit.Usagef("--programs %s: there are %s", v.Programs, strings.Join(lab.GuestPrograms(), ", "))
		}
		if *kernel != "" {
			s := &suites.Suite{Guests: []suites.Guest{{}}}
			if err := setKernels(s, []string{*kernel}); err != nil {
				return err
			}
			lf.kernels, v.Kernel = s.KernelFiles, lab.VariantKernel(s.Guests[0].Kernel)
		}
		l, err := lf.build(c.Context(), a, v)
		if err != nil {
			return err
		}
		defer l.Close()
		if err := mend(c.Context(), a, l.Cache); err != nil {
			return err
		}
		a.display.End()
		printLab(a.out, l)
		return nil
	}
	return c
}

// printLab prints what a lab is made of.
func printLab(w io.Writer, l *lab.Lab) {
	m := l.Manifest
	fmt.Fprintf(w, "lab %s\n  disc      %s\n  manifest  %s\n  xen       %s\n  dom0      Linux %s\n", m.Key(), l.Disc(),
		filepath.Join(l.Dir, lab.ManifestFile), m.XenVersion(), m.Dom0)
	if m.LibVMI != "" {
		fmt.Fprintf(w, "  libvmi    %s\n", m.LibVMI)
	}
	if qemu := m.Version(debian.QEMUPackage); qemu != "" {
		fmt.Fprintf(w, "  qemu      %s\n", qemu)
	}
	for _, name := range slices.Sorted(maps.Keys(m.Guests)) {
		fmt.Fprintf(w, "  guest     %s: Linux %s\n", name, m.Guests[name])
	}
}

// host builds the lab and opens it as a host.
func (l *labFlags) host(ctx context.Context, a *app) (*labhost.Host, error) {
	built, err := l.build(ctx, a, lab.Variant{})
	if err != nil {
		return nil, err
	}
	return l.hostOf(ctx, a, built)
}

// hostOf opens a lab that is built as a host. The host builds other variants of
// the lab when they are needed.
func (l *labFlags) hostOf(ctx context.Context, a *app, built *lab.Lab) (*labhost.Host, error) {
	h, err := labhost.New(ctx, built, a.log)
	if err != nil {
		return nil, err
	}
	h.Variant = func(ctx context.Context, v lab.Variant) (*lab.Lab, error) { return l.build(ctx, a, v) }
	return h, nil
}

// labEnv returns the command that prints the environment in which Go builds and runs
// Xen programs on this machine with the lab's packages. The tests of cgo/xenctrl need
// it.
func (a *app) labEnv() *cobra.Command {
	c := a.command("env", "print the shell variables with which Go builds against the lab's Xen",
		"Print shell variables (use eval) with which \"go build -tags xen\" compiles and links against the lab's Xen, "+
			"and with which \"go test -exec $HANGBENCH_EXEC\" runs the result here.", 0, 0)
	var lf labFlags
	lf.add(c)
	lf.addXen(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		l, err := lf.build(c.Context(), a, lab.Variant{})
		if err != nil {
			return err
		}
		a.display.End()
		ld, libs := toolchain.Loader(l.XenPrefix)
		vars := append(toolchain.GoEnv(l.CC), "HANGBENCH_PREFIX="+l.XenPrefix, "HANGBENCH_EXEC="+ld+" --library-path "+libs)
		for _, v := range vars {
			name, value, _ := strings.Cut(v, "=")
			fmt.Fprintf(a.out, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
		}
		return nil
	}
	return c
}
