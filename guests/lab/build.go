package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"hangbench/guests/image"
	"hangbench/guests/kernel"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/place"
	"hangbench/guests/lab/toolchain"
	"hangbench/guests/stress"
)

// Options say what lab to build.
type Options struct {
	Cache Cache
	// Source is the root of this project's source.
	Source string
	// Mirror is where Debian's packages come from; empty means Debian's own.
	Mirror string
	// Fields are the structure fields a guest kernel's profile must have
	// (guests/kernel, Kernel.Profile).
	Fields []string
	// Variant is which lab it is.
	Variant Variant
	// LibVMI, if set, is put into dom0, and the agent is built on it.
	LibVMI *LibVMI
	// Progress is told of every step; done and total are bytes or 0.
	Progress func(step string, done, total int64)
}

// Variant tells the labs apart that are built of one source, for guests that not
// all have in common. The zero Variant is the ordinary lab.
type Variant struct {
	// Superpages leaves Xen's large pages for guests on. altp2m views are not safe
	// with them: the lab is then one to provoke that in.
	Superpages bool
	// Programs is a set of programs, one of GuestPrograms, that guests may have:
	// dom0 holds another initramfs with them, beside the ordinary one. Empty for none.
	Programs string
}

// String names the variant by what its guests may have; the ordinary lab has no name.
func (v Variant) String() string {
	var parts []string
	if v.Superpages {
		parts = append(parts, "superpages")
	}
	if v.Programs != "" {
		parts = append(parts, v.Programs)
	}
	return strings.Join(parts, "-")
}

// Lab is a built lab.
type Lab struct {
	Manifest Manifest
	Cache    Cache
	Prefix   string // unpacked packages
	Dir      string // disc, manifest and snapshots
	CC       string // the prefix's C compiler

	use *os.File // shared lock: as long as it is held the lab is not pruned
}

// Close lets go of the lab, which another build may then remove from the cache.
func (l *Lab) Close() error { return l.use.Close() }

// Xen's command line, without what superpages has to say. Access/dirty bits, XPTI, speculation guards, SMAP and SMEP cost the emulator
// time and have no bearing on what is measured. Scrubbing free memory in the
// background would cost each restored machine time and memory anew.
const xenArgs = "console=com1 com1=115200,8n1 loglvl=error guest_loglvl=error noreboot bootscrub=0 sched_ratelimit_us=0 " +
	"dom0_mem=512M,max:512M dom0_max_vcpus=1 altp2m=1 ept=ad=0 xpti=0 spec-ctrl=no smap=0 smep=0"

// noSuperpages adds to it that guests get small pages only.
const noSuperpages = " hap_1gb=0 hap_2mb=0"

// xenLine is Xen's whole command line.
func (o *Options) xenLine() string {
	if o.Variant.Superpages {
		// Without exec-sp Xen breaks up each large page that is executed, on models of
		// CPU with an erratum (XSA-304), and next to none are left.
		return strings.Replace(xenArgs, "ept=ad=0", "ept=ad=0,exec-sp", 1)
	}
	return xenArgs + noSuperpages
}

// dom0's command line: quiet, because every character on the emulated serial
// port costs virtual time; without rodata because that is a sixth of its boot;
// and what it frees is zeroed, which leaves holes in the snapshots.
const dom0Args = "console=hvc0 quiet loglevel=3 nokaslr mitigations=off cryptomgr.notests rodata=off swiotlb=512 audit=0 init_on_free=1 random.trust_bootloader=on"

// dom0Modules make a domain a control domain.
// The last four make disks for guests (guests/disk).
var dom0Modules = []string{"xen-privcmd", "xenfs", "xen-evtchn", "xen-gntdev", "xen-gntalloc", "brd", "dm-mod", "dm-delay", "xen-blkback"}

// guestModules are for a guest that uses its disk or pats Xen's watchdog.
var guestModules = []string{"xen-blkfront", "xen-privcmd"}

// Build makes the lab, or finds the one in the cache that has the same inputs.
func Build(ctx context.Context, o Options) (*Lab, error) {
	if p := o.Variant.Programs; p != "" && !slices.Contains(GuestPrograms(), p) {
		return nil, fmt.Errorf("build the lab: there are no guest programs %q; there are %s", p, strings.Join(GuestPrograms(), ", "))
	}
	own, older, err := o.packages(ctx)
	if err != nil {
		return nil, err
	}
	extra, err := o.programs(ctx)
	if err != nil {
		return nil, err
	}
	lock, prefix := own.lock, own.prefix
	// One build at a time: two would make the same lab twice, or prune each other's.
	guard, err := lockFile(o.Cache.path("build.lock"), true, true)
	if err != nil {
		return nil, fmt.Errorf("wait for another build: %w", err)
	}
	defer guard.Close()
	cc, err := toolchain.CC(prefix, filepath.Join(o.Cache.toolchain(), lock.Digest()[:16]))
	if err != nil {
		return nil, fmt.Errorf("set up the compiler: %w", err)
	}
	work, err := os.MkdirTemp(o.Cache.path(), "build-")
	if err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	defer os.RemoveAll(work)

	tags, vmi := "xen", &staged{}
	env := toolchain.GoEnv(cc)
	if o.LibVMI != nil {
		if vmi, err = o.LibVMI.stage(filepath.Join(work, "libvmi"), prefix); err != nil {
			return nil, fmt.Errorf("take LibVMI: %w", err)
		}
		tags = "xen,libvmi"
		env = append(env, vmi.env()...)
	}
	o.Progress("compile", 0, 0)
	programs := map[string]string{}
	goVersion, err := o.goVersion(ctx)
	if err != nil {
		return nil, err
	}
	for name, build := range map[string]func(context.Context, string) error{
		"agent": func(ctx context.Context, out string) error {
			args := append(append([]string{"build"}, toolchain.GoFlags()...), "-tags", tags, "-o", out, "./bench/cmd/hangbench")
			return o.golang(ctx, env, args...)
		},
		"init": func(ctx context.Context, out string) error {
			return o.golang(ctx, []string{"CGO_ENABLED=0"}, "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, "./guests/init")
		},
		"yardstick": func(ctx context.Context, out string) error {
			return o.compile(ctx, cc, out, filepath.Join(o.Source, "bench/price/yardstick/eventloop.c"))
		},
	} {
		if err := build(ctx, filepath.Join(work, name)); err != nil {
			return nil, fmt.Errorf("compile the lab's %s: %w", name, err)
		}
		if programs[name], err = hashFile(filepath.Join(work, name)); err != nil {
			return nil, err
		}
	}

	kernels, err := findKernels(filepath.Join(work, "kernels"), prefix, older.prefix)
	if err != nil {
		return nil, err
	}
	m := Manifest{
		Schema: schema, Packages: lock.Packages, Kernels: older.lock.Packages, Programs: programs, Go: goVersion,
		XenArgs: o.xenLine(), Dom0Args: dom0Args + " " + place.LabMark, Machine: bochs.DefaultMachine(),
		Guests: map[string]string{}, Dom0: kernels.dom0,
	}
	for name, release := range kernels.guests {
		m.Guests[name] = release
	}
	if extra.lock != nil {
		m.GuestPackages = extra.lock.Packages
	}
	if o.LibVMI != nil {
		m.LibVMI = o.LibVMI.Version + " " + vmi.sum
	}
	l := &Lab{Manifest: m, Cache: o.Cache, Prefix: prefix, Dir: filepath.Join(o.Cache.labs(), m.Key()), CC: cc}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	if l.use, err = lockFile(filepath.Join(l.Dir, lockName), false, true); err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	if !l.complete() {
		if err := o.assemble(l, kernels, work, vmi.dir, extra.prefix); err != nil {
			l.Close()
			return nil, err
		}
		o.Cache.prune(&m)
	}
	return l, nil
}

// DiscFile is the name of a lab's boot disc.
const DiscFile = "lab.iso"

// Disc is the path of the boot disc.
func (l *Lab) Disc() string { return filepath.Join(l.Dir, DiscFile) }

// complete reports whether the lab lies in the cache. The manifest is written
// last, so a build that was killed leaves none.
func (l *Lab) complete() bool {
	b, err := os.ReadFile(filepath.Join(l.Dir, ManifestFile))
	if err != nil {
		return false
	}
	var m built
	if json.Unmarshal(b, &m) != nil || m.Key() != l.Manifest.Key() {
		return false
	}
	st, err := os.Stat(l.Disc())
	return err == nil && st.Size() == m.DiscBytes
}

// unpacked is a set of packages with the folder they are laid out in.
type unpacked struct {
	lock   *debian.Lock
	prefix string
}

// packages fetches the lab's own packages, and those of the release that only a
// guest kernel comes from.
func (o *Options) packages(ctx context.Context) (own, older unpacked, err error) {
	own, err = o.fetch(ctx, debian.Spec{
		Dir: o.Cache.packages(), Wanted: debian.LabWanted(), Excluded: debian.LabExcluded(),
	})
	if err != nil {
		return own, older, err
	}
	older, err = o.fetch(ctx, debian.Spec{
		Dir: o.Cache.packagesOf(debian.Bookworm), Release: debian.Bookworm, Wanted: debian.KernelWanted(), Excluded: debian.KernelExcluded(),
	})
	return own, older, err
}

// programs fetches the packages of the guests' programs, which only who asks for
// such guests needs.
func (o *Options) programs(ctx context.Context) (u unpacked, err error) {
	if o.Variant.Programs == "" {
		return u, nil
	}
	return o.fetch(ctx, debian.Spec{
		Dir: o.Cache.packagesFor(o.Variant.Programs), Wanted: debian.StressWanted(), Excluded: debian.StressExcluded(),
	})
}

func (o *Options) fetch(ctx context.Context, s debian.Spec) (u unpacked, err error) {
	s.Mirror = o.Mirror
	s.Progress = func(p debian.Progress) { o.Progress(p.Step, p.Bytes, p.BytesTotal) }
	if u.lock, err = debian.Fetch(ctx, s); err != nil {
		return u, fmt.Errorf("fetch the lab's packages: %w", err)
	}
	u.prefix = o.Cache.path("prefix-" + u.lock.Digest()[:16])
	if err := debian.Unpack(ctx, u.lock, debian.DebDir(s.Dir), u.prefix, debian.LabFilter(), s.Progress); err != nil {
		return u, fmt.Errorf("unpack the lab's packages: %w", err)
	}
	return u, nil
}

var errNoGo = &debian.MissingToolError{Tool: "go", Remedy: "install Go " + strings.TrimPrefix(runtime.Version(), "go") + " or newer, which builds the lab's programs"}

func (o *Options) golang(ctx context.Context, env []string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = o.Source
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOOS=linux", "GOARCH=amd64", "GOAMD64=v1")
	cmd.Env = append(cmd.Env, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return errNoGo
		}
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// compile compiles a C program on Xen's libraries. What it makes does not
// depend on where the source lies.
func (o *Options) compile(ctx context.Context, cc, out, source string) error {
	src, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, cc, "-O2", "-Wall", "-Wextra", "-D__XEN_TOOLS__", "-x", "c", "-o", out, "-", "-lxenctrl", "-lxenevtchn")
	cmd.Stdin = bytes.NewReader(src)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", cc, source, err, bytes.TrimSpace(output))
	}
	return nil
}

func (o *Options) goVersion(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "env", "GOVERSION")
	cmd.Dir = o.Source
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return "", errNoGo
	}
	if err != nil {
		return "", fmt.Errorf("ask for Go's version: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// kernelSet is the prefix's kernels. Extracted, they are dom0/vmlinux and, for
// each guest kernel, NAME/vmlinux, NAME/profile and NAME/relocs.
type kernelSet struct {
	Dir     string            // where they are extracted to
	dom0    string            // release
	guests  map[string]string // name → release
	sources map[string]string // name → compressed image
	modules map[string]string // release → folder of its modules
}

// vmlinuz matches the kernels of the prefix.
var vmlinuz = regexp.MustCompile(`^vmlinuz-((\d+\.\d+)\.\S*?-(cloud-)?amd64)$`)

// findKernels looks for the kernels of the prefixes, to be extracted into dir.
func findKernels(dir string, prefixes ...string) (*kernelSet, error) {
	set := &kernelSet{Dir: dir, guests: map[string]string{}, sources: map[string]string{}, modules: map[string]string{}}
	for _, prefix := range prefixes {
		boot, err := os.ReadDir(filepath.Join(prefix, "boot"))
		if err != nil {
			return nil, fmt.Errorf("look for kernels: %w", err)
		}
		for _, f := range boot {
			m := vmlinuz.FindStringSubmatch(f.Name())
			if m == nil {
				continue
			}
			name := "dom0"
			if m[3] != "" {
				name = "cloud-" + m[2]
				set.guests[name] = m[1]
			} else {
				set.dom0 = m[1]
			}
			set.sources[name] = filepath.Join(prefix, "boot", f.Name())
			set.modules[m[1]] = filepath.Join(prefix, "usr/lib/modules", m[1])
		}
	}
	if set.dom0 == "" || len(set.guests) == 0 {
		return nil, fmt.Errorf("the lab's packages hold no kernel for dom0 or none for guests")
	}
	return set, nil
}

// extractAll extracts them into set.Dir.
func (o *Options) extractAll(set *kernelSet) error {
	for name, file := range set.sources {
		o.Progress("extract kernel "+name, 0, 0)
		if err := o.extract(file, filepath.Join(set.Dir, name), name != "dom0"); err != nil {
			return fmt.Errorf("extract %s: %w", filepath.Base(file), err)
		}
	}
	return nil
}

func (o *Options) extract(file, dir string, guest bool) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	elf, err := kernel.ExtractELF(b)
	if err != nil {
		return err
	}
	small, err := kernel.Compact(elf)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, place.Kernel), small, 0o644); err != nil {
		return err
	}
	if !guest {
		return nil
	}
	k, err := kernel.Read(elf)
	if err != nil {
		return err
	}
	p, err := k.Profile(o.Fields)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	if _, err := p.WriteTo(&buf); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, place.Profile), buf.Bytes(), 0o644); err != nil {
		return err
	}
	relocs, err := kernel.TrailingRelocations(elf)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, place.Relocs), relocs, 0o644)
}

// assemble makes initramfs and disc. vmi is where LibVMI is staged, if at all, and
// programs where the packages of the guests' programs are laid out.
func (o *Options) assemble(l *Lab, kernels *kernelSet, work, vmi, programs string) error {
	if err := o.extractAll(kernels); err != nil {
		return err
	}
	o.Progress("assemble", 0, 0)
	ramdisks := map[string]string{} // by their names in dom0
	for _, set := range []string{"", o.Variant.Programs} {
		name := place.Ramdisk(set)
		if ramdisks[name] != "" {
			continue
		}
		ramdisks[name] = filepath.Join(work, name+".cpio")
		if err := guestTree(kernels, work, set, programs, ramdisks[name]); err != nil {
			return fmt.Errorf("build the guest's initramfs: %w", err)
		}
	}
	dom0RD := filepath.Join(work, "dom0.cpio")
	if err := o.dom0Tree(l.Prefix, kernels, work, vmi, ramdisks, dom0RD); err != nil {
		return fmt.Errorf("build dom0's initramfs: %w", err)
	}
	disc := image.Disc{
		Prefix: l.Prefix,
		Xen:    filepath.Join(l.Prefix, debian.Xen.Image()), XenArgs: l.Manifest.XenArgs,
		Kernel: filepath.Join(kernels.Dir, "dom0", place.Kernel), KernelArgs: l.Manifest.Dom0Args,
		Initrd: dom0RD,
	}
	if err := disc.WriteFile(l.Disc()); err != nil {
		return fmt.Errorf("build the disc: %w", err)
	}
	return l.writeManifest()
}

// guestTree writes the initramfs of guests with a set of programs.
func guestTree(kernels *kernelSet, work, set, prefix, out string) error {
	var guest image.Tree
	err := guest.FileFrom("init", 0o755, filepath.Join(work, "init"))
	for _, d := range []string{"dev", "proc", "sys"} {
		err = errors.Join(err, guest.Dir(d, 0o755))
	}
	// The kernel gives init its standard files from this node.
	err = errors.Join(err, guest.CharDevice("dev/console", 0o600, 5, 1))
	for _, release := range kernels.guests {
		modules, merr := image.OpenModules(kernels.modules[release])
		if merr != nil {
			return merr
		}
		err = errors.Join(err, addModules(&guest, "lib/modules/"+release, modules, guestModules))
	}
	if set != "" {
		libs := image.Libraries{Prefix: prefix, Dirs: []string{"usr/lib/x86_64-linux-gnu"}}
		return errors.Join(err,
			guest.Program(stress.Program, filepath.Join(prefix, "usr/bin/stress-ng"), libs),
			guest.Program(stress.MakeFS, filepath.Join(prefix, "usr/sbin/mke2fs"), libs),
			guest.Dir(stress.Scratch, 0o755), guest.Dir(stress.DiskDir, 0o755),
			guest.WriteZstdFile(out)) // dom0 has no room for 45 MiB more, twice while it boots
	}
	return errors.Join(err, guest.WriteCPIOFile(out))
}

// built is what lab.json holds: the inputs, and what came of them.
type built struct {
	Manifest
	DiscBytes  int64  `json:"disc_bytes"`
	DiscSHA256 string `json:"disc_sha256"` // equal inputs give equal discs
}

// writeManifest makes the lab count as built.
func (l *Lab) writeManifest() error {
	st, err := os.Stat(l.Disc())
	if err != nil {
		return err
	}
	sum, err := hashFile(l.Disc())
	if err != nil {
		return err
	}
	b, err := json.MarshalIndent(built{l.Manifest, st.Size(), sum}, "", "\t")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(l.Dir, ManifestFile), append(b, '\n'))
}

func (o *Options) dom0Tree(prefix string, kernels *kernelSet, work, vmi string, ramdisks map[string]string, out string) error {
	xen := debian.Xen.Dir()
	libs := image.Libraries{Prefix: prefix, Dirs: debian.Xen.LibraryDirs(), Extra: vmi}
	var t image.Tree
	var errs []error
	do := func(err error) { errs = append(errs, err) }
	do(t.Program(strings.TrimPrefix(place.Agent, "/"), filepath.Join(work, "agent"), libs))
	do(t.Program(strings.TrimPrefix(place.Yardstick, "/"), filepath.Join(work, "yardstick"), libs))
	for _, p := range []string{"xenstored", "xenconsoled", "xen-init-dom0", "xl", "libxl-save-helper"} {
		do(t.Program(xen+"/bin/"+p, filepath.Join(prefix, xen, "bin", p), libs))
	}
	do(t.Symlink(filepath.Dir(place.XenBin), filepath.Base(xen)))
	do(t.Library("libgcc_s.so.1", libs)) // pthread_cancel opens it
	if vmi != "" {
		// LibVMI opens these two, by the names that only the -dev package has.
		do(t.Symlink("lib/x86_64-linux-gnu/libxenctrl.so", debian.Xen.Libxenctrl()))
		do(t.Symlink("lib/x86_64-linux-gnu/libxenstore.so", debian.Xen.Libxenstore()))
	}
	do(t.File("etc/xen/xl.conf", 0o644, nil))
	// xl runs this when a guest gets a disk; the agent plays that part too.
	do(t.Symlink(place.BlockScript, place.Agent))
	for _, d := range []string{"dev", "proc", "sys", "run", "tmp", "var/lib", "var/log"} {
		do(t.Dir(d, 0o755))
	}
	do(t.Symlink("var/run", "/run"))
	do(t.Symlink("var/lock", "/run/lock"))
	do(t.CharDevice("dev/console", 0o600, 5, 1))

	modules, err := image.OpenModules(kernels.modules[kernels.dom0])
	do(err)
	if err == nil {
		do(addModules(&t, place.Modules, modules, dom0Modules))
	}
	for name := range kernels.guests {
		for _, f := range []string{place.Kernel, place.Profile, place.Relocs} {
			do(t.FileFrom(place.Guests+"/"+name+"/"+f, 0o644, filepath.Join(kernels.Dir, name, f)))
		}
	}
	for name, file := range ramdisks {
		do(t.FileFrom(place.Guests+"/"+name, 0o644, file))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return t.WriteCPIOFile(out)
}

// addModules adds modules and what they need. They are numbered: who loads them
// does so in the order of their names.
func addModules(t *image.Tree, dir string, from *image.Modules, names []string) error {
	order, err := from.InOrder(names...)
	if err != nil {
		return err
	}
	for i, m := range order {
		if err := t.File(fmt.Sprintf("%s/%02d-%s.ko", dir, i, m.Name), 0o644, m.Data); err != nil {
			return err
		}
	}
	return nil
}

// GuestKernels returns the names of the guest kernels that a lab has. The first
// is the one for whoever does not name any.
func GuestKernels() []string { return []string{"cloud-6.12", "cloud-6.1"} }

// GuestPrograms returns the names of the sets of programs that guests may have
// (Variant.Programs).
func GuestPrograms() []string { return []string{stress.Set} }
