package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"hangbench/guests/image"
	"hangbench/guests/lab/bochs"
	"hangbench/guests/lab/debian"
	"hangbench/guests/lab/place"
	"hangbench/guests/lab/toolchain"
	"hangbench/guests/stress"
)

// Options select the lab that Build makes.
type Options struct {
	Cache Cache // its folder must be there: see Cache.Make
	// Source is the root folder of this project's source.
	Source string
	// Mirror is the base URL of a Debian mirror. Empty selects Debian's own.
	Mirror string
	// Fields are the structure fields that the profile of each guest kernel must
	// have (see kernel.Kernel.Profile).
	Fields []string
	// Variant selects one of the labs built from the same source.
	Variant Variant
	// KernelFiles are guest kernels that the user brings, by their names: see
	// KernelFileName.
	KernelFiles map[string]string
	// GivenXen, if not nil, is the lab's Xen. Variant.Xen is empty then.
	GivenXen *GivenXen
	// LibVMI, if not nil, is copied into dom0, and the agent is linked with it.
	LibVMI *LibVMI
	// Tests puts the tests of package cgo/xenctrl into dom0, as place.Tests. Those that
	// need a guest run nowhere else.
	Tests bool
	// Log gets a record at each step. One that moves bytes has the attributes
	// done_bytes and total_bytes.
	Log *slog.Logger
}

// Variant selects one of several labs built from the same source. Some guests
// need a lab of their own. The zero Variant is the ordinary lab.
type Variant struct {
	// Superpages permits Xen to map guest memory with large pages. altp2m views
	// are not safe with them; this lab exists to show that.
	Superpages bool
	// Programs is a set of programs for guests, one of GuestPrograms. dom0 then
	// holds a second initramfs with them, beside the ordinary one. Empty: none.
	Programs string
	// Kernel is the one guest kernel of the lab, one of GuestKernels or the name of one of
	// Options.KernelFiles. Empty: those of the ordinary lab.
	Kernel string
	// Xen is the release of the lab's Xen, one of Xens. Empty: that of the ordinary lab.
	Xen string
	// HVM: guests are of type HVM. dom0 has QEMU, and for each guest kernel a disc.
	HVM bool
}

// String names the variant after the properties of its guests. The ordinary lab
// has the empty name.
func (v Variant) String() string {
	var parts []string
	if v.Superpages {
		parts = append(parts, "superpages")
	}
	if v.Programs != "" {
		parts = append(parts, v.Programs)
	}
	if v.Kernel != "" {
		parts = append(parts, v.Kernel)
	}
	if v.Xen != "" {
		parts = append(parts, "xen-"+v.Xen)
	}
	if v.HVM {
		parts = append(parts, "hvm")
	}
	return strings.Join(parts, "-")
}

// Variants returns every variant that differs from the ordinary lab in one property. The
// ordinary lab is the first.
func Variants() []Variant {
	all := []Variant{{}}
	for _, k := range GuestKernels() {
		if v := (Variant{Kernel: VariantKernel(k)}); v != (Variant{}) {
			all = append(all, v)
		}
	}
	for _, x := range Xens() {
		if v := (Variant{Xen: VariantXen(x)}); v != (Variant{}) {
			all = append(all, v)
		}
	}
	for _, p := range GuestPrograms() {
		all = append(all, Variant{Programs: p})
	}
	return append(all, Variant{Superpages: true}, Variant{HVM: true})
}

// GuestPrograms returns the names of the sets of programs that guests may have
// (Variant.Programs).
func GuestPrograms() []string { return []string{stress.Set} }

// Lab is a lab that has been built. It cannot be pruned from the cache until it
// is closed.
type Lab struct {
	Manifest Manifest
	Cache    Cache
	Prefix   string // folder of the unpacked packages
	// XenPrefix is the folder with Xen, its tools and libraries, and the compiler. It is
	// Prefix unless the lab has another Xen.
	XenPrefix string
	// Prefixes are the folders of all unpacked packages, each once.
	Prefixes []string
	Dir      string // folder of the disc, the manifest and the snapshots
	CC       string // path of XenPrefix's C compiler

	use *os.File // shared lock on Dir
}

// Close releases the lab. Another build may then remove it from the cache.
func (l *Lab) Close() error { return l.use.Close() }

// DiscFile is the file name of a lab's boot disc.
const DiscFile = "lab.iso"

// Disc returns the path of the boot disc.
func (l *Lab) Disc() string { return filepath.Join(l.Dir, DiscFile) }

// snapshotsDir is the folder of a lab's snapshots, in the lab's own.
const snapshotsDir = "snapshots"

// Snapshots returns the folder of the lab's snapshots.
func (l *Lab) Snapshots() string { return filepath.Join(l.Dir, snapshotsDir) }

// LockSnapshot locks the name of a snapshot until held is closed. It waits for another
// process that makes the snapshot: two would need twice the memory and the time.
func (l *Lab) LockSnapshot(ctx context.Context, name string) (held io.Closer, err error) {
	if err := os.MkdirAll(l.Snapshots(), 0o755); err != nil {
		return nil, fmt.Errorf("make a snapshot: %w", err)
	}
	f, err := waitLock(ctx, filepath.Join(l.Snapshots(), "."+name+".lock"), true)
	if err != nil {
		return nil, fmt.Errorf("wait for another process that makes the snapshot %s: %w", name, err)
	}
	return f, nil
}

// xenArgs is Xen's command line, without the options for superpages. Access and
// dirty bits, XPTI, the guards against speculation, SMAP and SMEP cost the
// emulator time and do not affect what is measured. Scrubbing free memory in the
// background would cost time and memory in each restored machine.
const xenArgs = "console=com1 com1=115200,8n1 loglvl=error guest_loglvl=error noreboot bootscrub=0 " +
	"sched_ratelimit_us=0 dom0_mem=512M,max:512M dom0_max_vcpus=1 altp2m=1 ept=ad=0 xpti=0 spec-ctrl=no smap=0 smep=0"

// noSuperpages has Xen map guest memory with small pages only.
const noSuperpages = " hap_1gb=0 hap_2mb=0"

// xenLine returns Xen's whole command line.
func (o *Options) xenLine() string {
	if o.Variant.Superpages {
		// On CPU models with an erratum (XSA-304), Xen splits each large page from
		// which code runs, unless exec-sp forbids it. Hardly any would be left.
		return strings.Replace(xenArgs, "ept=ad=0", "ept=ad=0,exec-sp", 1)
	}
	return xenArgs + noSuperpages
}

// dom0Args is the command line of dom0's kernel, without the lab's mark. It is
// quiet because each character on the emulated serial port costs virtual time.
// Without rodata the boot is a sixth shorter. Freed memory is zeroed, which leaves
// holes in the snapshots.
const dom0Args = "console=hvc0 quiet loglevel=3 nokaslr mitigations=off cryptomgr.notests rodata=off swiotlb=512 " +
	"audit=0 init_on_free=1 random.trust_bootloader=on"

// Build returns the lab that the options describe. It makes the lab unless the
// cache has one with the same inputs (see Manifest.Key). It waits for other
// builds in the same cache. After a build that failed or was killed, the next one goes on
// with the packages, prefixes and labs that are whole.
func Build(ctx context.Context, o Options) (*Lab, error) {
	l, err := o.build(ctx)
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		first, _, _ := strings.Cut(err.Error(), "\n") // several files may have met it
		return nil, fmt.Errorf("%s: free some, or choose another cache folder", first)
	}
	return l, err
}

func (o *Options) build(ctx context.Context) (*Lab, error) {
	if set := o.Variant.Programs; set != "" && !slices.Contains(GuestPrograms(), set) {
		return nil, fmt.Errorf("build the lab: there are no guest programs %q; there are %s", set,
			strings.Join(GuestPrograms(), ", "))
	}
	if err := debian.NeedSpace(string(o.Cache), o.Cache.lacks()); err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	guests, err := o.Variant.kernels(o.KernelFiles)
	if err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	p, err := o.platform()
	if err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	goEnv, goVersion, err := o.hostGo(ctx) // before anything is fetched
	if err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	sets, err := o.packages(ctx, p, guests)
	if err != nil {
		return nil, err
	}
	// Two builds at once would make the same lab twice, or prune each other's.
	guard, err := waitLock(ctx, o.Cache.path(buildLock), true)
	if err != nil {
		return nil, fmt.Errorf("wait for another build: %w", err)
	}
	defer guard.Close()
	o.Cache.removeLeftovers()
	cc, err := toolchain.CC(p, sets.xen.prefix, filepath.Join(o.Cache.toolchain(), sets.xen.lock.Digest()[:16]))
	if err != nil {
		return nil, fmt.Errorf("set up the compiler: %w", err)
	}
	work, err := os.MkdirTemp(o.Cache.path(), workName)
	if err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	defer os.RemoveAll(work)
	vmi := &staged{}
	if o.LibVMI != nil {
		if vmi, err = o.LibVMI.stage(filepath.Join(work, "libvmi"), sets.xen.prefix); err != nil {
			return nil, fmt.Errorf("take LibVMI: %w", err)
		}
	}
	programs, err := o.compileAll(ctx, goEnv, cc, work, vmi)
	if err != nil {
		return nil, err
	}
	kernels, err := sets.findKernels(filepath.Join(work, "kernels"), guests)
	if err != nil {
		return nil, err
	}
	var given map[string]string
	if spec := o.KernelFiles[o.Variant.Kernel]; spec != "" {
		sum, err := o.addFile(ctx, kernels, o.Variant.Kernel, spec, filepath.Join(work, "given"))
		if err != nil {
			return nil, err
		}
		given = map[string]string{o.Variant.Kernel: sum}
	}
	m := Manifest{
		KernelFiles: given,
		Schema:      schema, Packages: sets.own.lock.Packages,
		Programs: programs, Go: goVersion,
		Modules: slices.Concat(dom0Modules(), guestModules()), ProfileFields: hashStrings(o.Fields),
		XenArgs: o.xenLine(), Dom0Args: dom0Args + " " + place.LabMark, Machine: bochs.DefaultMachine(),
		Guests: kernels.guests, Dom0: kernels.dom0,
	}
	if sets.xen != sets.own {
		m.Xen, m.XenPackages = string(p.Xen), sets.xen.lock.Packages
	}
	xen := filepath.Join(sets.xen.prefix, p.Xen.Image())
	if g := o.GivenXen; g != nil {
		m.GivenXen = &g.ID
		if xen, err = g.image(sets.xen.prefix, work); err != nil {
			return nil, fmt.Errorf("build the lab: %w", err)
		}
	}
	for _, u := range sets.kernels {
		m.Kernels = append(m.Kernels, u.lock.Packages...)
	}
	if sets.programs.lock != nil {
		m.GuestPackages = sets.programs.lock.Packages
	}
	if sets.hvm.lock != nil {
		m.HVMPackages = sets.hvm.lock.Packages
	}
	if o.LibVMI != nil {
		m.LibVMI = o.LibVMI.Version + " " + vmi.sum
	}
	l := &Lab{
		Manifest: m, Cache: o.Cache, Prefix: sets.own.prefix, XenPrefix: sets.xen.prefix, CC: cc,
		Prefixes: sets.prefixes(), Dir: filepath.Join(o.Cache.labs(), m.Key()),
	}
	if err := os.MkdirAll(l.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	if l.use, err = waitLock(ctx, filepath.Join(l.Dir, lockName), false); err != nil {
		return nil, fmt.Errorf("build the lab: %w", err)
	}
	if why := l.complete(); why != nil {
		if !errors.Is(why, fs.ErrNotExist) {
			o.Log.Warn("building the lab anew", "error", why)
		}
		if err := o.assemble(p, l, xen, &sets, kernels, work, vmi.dir); err != nil {
			l.Close()
			return nil, err
		}
		o.Cache.prune(&m)
	}
	return l, nil
}

// assemble extracts the kernels, makes every initramfs and the discs, and writes
// the manifest. xen is Xen's boot image. vmi is the folder with LibVMI, empty without.
func (o *Options) assemble(
	p debian.Platform, l *Lab, xen string, sets *packageSets, kernels *kernelSet, work, vmi string,
) error {
	if err := o.extractAll(kernels); err != nil {
		return err
	}
	o.Log.Info("assemble the lab")
	ramdisks := map[string]string{} // by their names in dom0
	for _, set := range []string{"", o.Variant.Programs} {
		name := place.Ramdisk(set)
		if ramdisks[name] != "" {
			continue
		}
		ramdisks[name] = filepath.Join(work, name+".cpio")
		if err := guestTree(kernels, work, set, sets.programs.prefix, ramdisks[name]); err != nil {
			return fmt.Errorf("build the guest's initramfs: %w", err)
		}
	}
	d := dom0Files{
		platform: p, prefix: l.XenPrefix, kernels: kernels, work: work, vmi: vmi, programs: o.dom0Programs(),
		ramdisks: ramdisks,
	}
	if o.Variant.HVM {
		d.ramdisks, d.hvm, d.disc = nil, sets.hvm.prefix, place.Disc(o.Variant.Programs)
		if err := guestDiscs(kernels, sets.own.prefix, ramdisks[place.Ramdisk(o.Variant.Programs)], d.disc); err != nil {
			return fmt.Errorf("build the guest's disc: %w", err)
		}
	}
	dom0RD := filepath.Join(work, "dom0.cpio")
	err := d.write(dom0RD)
	if g := o.GivenXen; err != nil && g != nil && g.ID.Form == XenDebs {
		err = g.fail(err)
	}
	if err != nil {
		return fmt.Errorf("build dom0's initramfs: %w", err)
	}
	disc := image.Disc{
		Prefix: l.Prefix,
		Xen:    xen, XenArgs: l.Manifest.XenArgs,
		Kernel: filepath.Join(kernels.Dir, "dom0", place.Kernel), KernelArgs: l.Manifest.Dom0Args,
		Initrd: dom0RD,
	}
	if err := disc.WriteFile(l.Disc()); err != nil {
		return fmt.Errorf("build the disc: %w", err)
	}
	return l.writeManifest()
}

// unpacked is a set of packages and the folder in which they are laid out.
type unpacked struct {
	lock   *debian.Lock
	prefix string
}

// packageSets are the packages of a lab.
type packageSets struct {
	own      unpacked   // the ordinary lab's own
	xen      unpacked   // of Xen, its tools and the compiler: own, unless the lab has another Xen
	kernels  []unpacked // of guest kernels that are not among the lab's own
	programs unpacked   // of the guests' programs; zero without Variant.Programs
	hvm      unpacked   // of QEMU and the BIOS; zero without Variant.HVM
}

// prefixes returns the folders of all packages, each once.
func (s *packageSets) prefixes() []string {
	var all []string
	for _, u := range append([]unpacked{s.own, s.xen, s.programs, s.hvm}, s.kernels...) {
		if u.prefix != "" && !slices.Contains(all, u.prefix) {
			all = append(all, u.prefix)
		}
	}
	return all
}

// findKernels finds dom0's kernel and the guest kernels in the packages.
func (s *packageSets) findKernels(dir string, guests []guestKernel) (*kernelSet, error) {
	var names, prefixes []string
	for _, k := range guests {
		names = append(names, k.Name)
	}
	for _, u := range s.kernels {
		prefixes = append(prefixes, u.prefix)
	}
	return findKernels(dir, names, s.own.prefix, prefixes...)
}

// packages fetches and unpacks all packages of a lab with these guest kernels, and the
// Xen of p.
func (o *Options) packages(ctx context.Context, p debian.Platform, guests []guestKernel) (s packageSets, err error) {
	own := debian.Lab()
	s.own, err = o.fetch(ctx, own, debian.Spec{
		Dir: o.Cache.packages(), Release: own.Release, Wanted: own.Wanted(), Excluded: own.Excluded(),
	})
	if err != nil {
		return s, err
	}
	s.xen = s.own
	if g := o.GivenXen; g != nil && g.ID.Form == XenDebs {
		if s.xen, err = o.givenPackages(ctx, g); err != nil {
			return s, err
		}
	} else if p != own {
		s.xen, err = o.fetch(ctx, p, debian.Spec{
			Dir: o.Cache.packagesFor("xen-" + string(p.Xen)), Release: p.Release,
			Wanted: p.XenWanted(), Excluded: p.Excluded(),
		})
		if err != nil {
			return s, fmt.Errorf("fetch the packages of Xen %s: %w", p.Xen, err)
		}
	}
	for _, k := range guests {
		if k.Package == "" {
			continue
		}
		u, err := o.fetch(ctx, own, debian.Spec{
			Dir: o.Cache.packagesOf(k), Release: k.Release,
			Wanted: []string{k.Package}, Excluded: debian.KernelExcluded(),
		})
		if err != nil {
			return s, fmt.Errorf("guest kernel %s: %w", k.Name, err)
		}
		s.kernels = append(s.kernels, u)
	}
	if o.Variant.Programs != "" {
		s.programs, err = o.fetch(ctx, own, debian.Spec{
			Dir: o.Cache.packagesFor(o.Variant.Programs), Release: own.Release,
			Wanted: debian.StressWanted(), Excluded: debian.StressExcluded(),
		})
		if err != nil {
			return s, err
		}
	}
	if o.Variant.HVM {
		s.hvm, err = o.fetch(ctx, p, debian.Spec{
			Dir: o.Cache.packagesFor("hvm-" + string(p.Release)), Release: p.Release,
			Wanted: debian.HVMWanted(), Excluded: debian.HVMExcluded(),
		})
		if err != nil {
			return s, fmt.Errorf("fetch the packages of guests of type HVM: %w", err)
		}
	}
	return s, nil
}

// fetch downloads one set of packages and lays it out in a folder of the cache
// that is named after their hashes.
func (o *Options) fetch(ctx context.Context, p debian.Platform, s debian.Spec) (u unpacked, err error) {
	s.Mirror = o.Mirror
	s.Log = o.Log
	if u.lock, err = debian.Fetch(ctx, s); err != nil {
		return u, fmt.Errorf("fetch the lab's packages: %w", err)
	}
	u.prefix = o.Cache.prefix(u.lock)
	err = debian.Unpack(ctx, u.lock, debian.DebDir(s.Dir), u.prefix, p.Filter(), o.Log)
	if err != nil {
		return u, fmt.Errorf("unpack the lab's packages: %w", err)
	}
	return u, nil
}

// givenPackages lays out the packages of a user's Xen with those of Debian that they need.
func (o *Options) givenPackages(ctx context.Context, g *GivenXen) (u unpacked, err error) {
	dir, err := filepath.Abs(o.Cache.packagesFor("xen-" + string(g.base.Xen)))
	if err != nil {
		return u, err
	}
	base, err := debian.Fetch(ctx, debian.Spec{
		Dir: dir, Release: g.base.Release, Wanted: g.base.XenWanted(), Excluded: g.base.Excluded(), Mirror: o.Mirror,
		Log: o.Log,
	})
	if err != nil {
		return u, fmt.Errorf("fetch the packages beside Xen's: %w", err)
	}
	u.lock = g.merge(base, debian.DebDir(dir))
	u.prefix = o.Cache.prefix(u.lock)
	err = debian.Unpack(ctx, u.lock, "/", u.prefix, g.platform.Filter(), o.Log)
	if full := (*debian.NoSpaceError)(nil); errors.As(err, &full) {
		return u, err
	}
	if err != nil {
		return u, g.fail(err)
	}
	for i := range u.lock.Packages {
		u.lock.Packages[i].File = filepath.Base(u.lock.Packages[i].File)
	}
	return u, nil
}

// built is the content of lab.json: the inputs, and the disc made from them.
type built struct {
	Manifest
	DiscBytes  int64  `json:"disc_bytes"`
	DiscSHA256 string `json:"disc_sha256"` // equal inputs give equal discs
}

// complete says why the cache does not hold the whole lab; nil: it does. The error wraps
// fs.ErrNotExist if nothing is there. The manifest is written last, so an interrupted
// build leaves none.
func (l *Lab) complete() error {
	m, err := readBuilt(l.Dir)
	if err != nil {
		return err
	}
	if m.Key() != l.Manifest.Key() {
		return fmt.Errorf("%s is of another lab: %s", filepath.Join(l.Dir, ManifestFile), m.Key())
	}
	return m.checkDisc(l.Dir)
}

// checkDisc compares the disc in a lab's folder with the manifest.
func (b *built) checkDisc(dir string) error {
	disc := filepath.Join(dir, DiscFile)
	st, err := os.Stat(disc)
	if err != nil {
		return missing(err)
	}
	if st.Size() != b.DiscBytes {
		return fmt.Errorf("%s has %d bytes, and was built with %d", disc, st.Size(), b.DiscBytes)
	}
	sum, err := hashFile(disc)
	if err != nil {
		return err
	}
	if sum != b.DiscSHA256 {
		return fmt.Errorf("%s has changed since it was built", disc)
	}
	return nil
}

// missing returns an error that does not wrap fs.ErrNotExist: a part of something that
// is there is missing.
func missing(err error) error { return errors.New(err.Error()) }

// readBuilt reads the manifest in a lab's folder.
func readBuilt(dir string) (*built, error) {
	file := filepath.Join(dir, ManifestFile)
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the lab's manifest: %w", err)
	}
	m, err := parseBuilt(b)
	if err != nil {
		return nil, fmt.Errorf("read the lab's manifest %s: %w", file, err)
	}
	return m, nil
}

// parseBuilt decodes lab.json.
func parseBuilt(b []byte) (*built, error) {
	var m built
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	if m.Schema != schema {
		return nil, fmt.Errorf("it has schema %d; this program writes %d", m.Schema, schema)
	}
	return &m, nil
}

// writeManifest writes lab.json, which marks the lab as complete.
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
