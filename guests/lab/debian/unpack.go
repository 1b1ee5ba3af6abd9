package debian

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// stampName is the file in a prefix that names the packages and the filter of its
// content.
const stampName = ".hangbench-unpacked"

// layout is the version of what Unpack makes of the same packages. Prefixes of
// another version are made again.
const layout = "1"

// mergedDirs are the folders that are links into usr/ (Debian since 12). The lab does
// not have the package that makes these links.
var mergedDirs = []string{"bin", "lib", "lib64", "sbin"}

// Unpack unpacks the lock's packages into the folder prefix. Their files are in debs.
//
// The prefix appears when it is complete: a call that was killed leaves none, and the
// next call starts again. A prefix that an earlier call has made from equal packages
// with an equal filter stays as it is, if all its files are as they were (CheckPrefix).
// Owners, set-id bits and time stamps are not
// kept. Links with absolute targets are made relative, so that they stay inside the
// prefix. An entry outside of the prefix, and one that is neither file, folder nor
// link, is an error.
//
// log gets a record for each package, as Spec.Log does; it may be nil.
func Unpack(ctx context.Context, lock *Lock, debs, prefix string, filter Filter, log *slog.Logger) error {
	if err := filter.valid(); err != nil {
		return err
	}
	prefix, err := filepath.Abs(prefix)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(prefix), 0o755); err != nil {
		return noSpace(fmt.Errorf("unpack: %w", err), prefix)
	}
	held, err := flock(ctx, prefix+".lock")
	if err != nil {
		return err
	}
	defer held.Close()

	staging, old := prefix+".new", prefix+".old"
	for _, d := range []string{staging, old} {
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("unpack: delete the rest of an earlier run: %w", err)
		}
	}
	stamp := fmt.Sprintf("layout %s\npackages %s\nfilter %s\n", layout, lock.Digest(), filter.digest())
	if old, err := os.ReadFile(filepath.Join(prefix, stampName)); err == nil && string(old) == stamp {
		err := CheckPrefix(ctx, prefix)
		damaged := (*DamageError)(nil)
		if !errors.As(err, &damaged) {
			return err
		}
		if log != nil {
			log.Warn("unpacking the packages anew", "error", err)
		}
	}
	if err := unpackAll(ctx, lock, debs, staging, filter, log); err != nil {
		os.RemoveAll(staging)
		return noSpace(err, filepath.Dir(prefix))
	}
	err = writeInventory(ctx, staging)
	if err == nil {
		err = writeFile(filepath.Join(staging, stampName), []byte(stamp))
	}
	if err != nil {
		os.RemoveAll(staging)
		return noSpace(fmt.Errorf("unpack: %w", err), filepath.Dir(prefix))
	}
	if err := os.Rename(prefix, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("unpack: put the old prefix aside: %w", err)
	}
	if err := os.Rename(staging, prefix); err != nil {
		return fmt.Errorf("unpack: put the new prefix in place: %w", err)
	}
	if err := os.RemoveAll(old); err != nil {
		return fmt.Errorf("unpack: delete the old prefix: %w", err)
	}
	return nil
}

// unpackAll unpacks all packages into the new folder dir, several at a time.
func unpackAll(ctx context.Context, lock *Lock, debs, dir string, filter Filter, log *slog.Logger) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	defer root.Close()
	for _, d := range mergedDirs {
		if err := root.MkdirAll("usr/"+d, 0o755); err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
		if err := root.Symlink("usr/"+d, d); err != nil {
			return fmt.Errorf("unpack: %w", err)
		}
	}
	// The largest first: the kernel takes as long as most of the others together.
	pkgs := slices.Clone(lock.Packages)
	slices.SortStableFunc(pkgs, func(a, b Package) int { return int(b.SizeBytes - a.SizeBytes) })

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		mu   sync.Mutex
		next int
		done = progress{step: "unpack packages", packagesTotal: len(pkgs), bytesTotal: lock.SizeBytes()}
		wg   sync.WaitGroup
	)
	for range max(2, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				mu.Unlock()
				if i >= len(pkgs) || ctx.Err() != nil {
					return
				}
				if err := unpackOne(ctx, root, filepath.Join(debs, pkgs[i].File), filter); err != nil {
					cancel(fmt.Errorf("unpack %s: %w", pkgs[i].File, err))
					return
				}
				mu.Lock()
				done.packages++
				done.bytes += pkgs[i].SizeBytes
				done.log(log)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// unpackOne unpacks one package file into root.
func unpackOne(ctx context.Context, root *os.Root, deb string, filter Filter) error {
	f, err := os.Open(deb)
	if err != nil {
		return err
	}
	defer f.Close()
	tr, err := debData(readerFunc(func(b []byte) (int, error) { // to go past a large entry takes seconds
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(b)
	}))
	if err != nil {
		return err
	}
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return noEOF(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeSymlink && slices.Contains(mergedDirs, path.Clean(h.Name)) {
			continue // the links of base-files, which unpackAll has made
		}
		name, err := inPrefix(h.Name)
		if err != nil {
			return err
		}
		if name == "." || !filter.Keeps(name) {
			continue
		}
		if err := unpackEntry(root, name, h, tr); err != nil {
			return fmt.Errorf("entry %q: %w", h.Name, err)
		}
	}
}

// readerFunc is a function as an io.Reader.
type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// unpackEntry writes one entry. It resolves all paths through root, which does not
// follow links out of the prefix.
func unpackEntry(root *os.Root, name string, h *tar.Header, data io.Reader) error {
	if h.Typeflag == tar.TypeDir {
		return root.MkdirAll(name, 0o755)
	}
	if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	// Two packages may have the same file. The later one replaces it, and does not
	// write through a link.
	if err := root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		mode := fs.FileMode(0o644)
		if h.Mode&0o111 != 0 {
			mode = 0o755
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, data); err != nil {
			f.Close()
			return noEOF(err)
		}
		return f.Close()
	case tar.TypeSymlink:
		target, err := linkTarget(name, h.Linkname)
		if err != nil {
			return err
		}
		return root.Symlink(target, name)
	case tar.TypeLink:
		target, err := inPrefix(h.Linkname)
		if err != nil {
			return err
		}
		return root.Link(target, name)
	}
	return fmt.Errorf("type %q is not supported", h.Typeflag)
}

// inPrefix returns the path below the prefix for a path in a package.
func inPrefix(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(name, "/"))
	if !filepath.IsLocal(clean) || strings.ContainsRune(name, 0) {
		return "", fmt.Errorf("path %q leads out of the prefix", name)
	}
	if top, _, _ := strings.Cut(clean, "/"); slices.Contains(mergedDirs, top) {
		clean = "usr/" + clean
	}
	return clean, nil
}

// linkTarget returns the relative target of a link. name is the link's path below the
// prefix, target the target in the package.
func linkTarget(name, target string) (string, error) {
	abs := target
	if !path.IsAbs(target) {
		abs = path.Dir(name) + "/" + target
	}
	inside, err := inPrefix(abs)
	if err != nil {
		return "", fmt.Errorf("link to %q leads out of the prefix", target)
	}
	if !path.IsAbs(target) {
		return target, nil
	}
	return filepath.Rel(path.Dir(name), inside)
}
