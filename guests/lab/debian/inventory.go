package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// inventoryName is the file in a prefix that lists every other file of it.
const inventoryName = ".hangbench-files"

// castagnoli is the CRC-32C polynomial of RFC 3720.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// inventoryEntry is one line of an inventory: a path below the prefix in quotes, a
// blank, and what is there:
//
//	dir
//	link TARGET              the target in quotes
//	file MODE SIZE CRC-32C   its bits for execution in octal, bytes, 8 hexadecimal digits
type inventoryEntry struct{ path, what string }

func (e inventoryEntry) String() string { return strconv.Quote(e.path) + " " + e.what }

// inventory lists a folder as it is now, in the order of the paths.
func inventory(ctx context.Context, root string) ([]inventoryEntry, error) {
	var all []inventoryEntry
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil || name == "." || name == stampName || name == inventoryName {
			return err
		}
		what, err := describe(ctx, path)
		all = append(all, inventoryEntry{name, what})
		return err
	})
	return all, err
}

// describe returns what is at a path, without following a link.
func describe(ctx context.Context, path string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", err
	case info.IsDir():
		return "dir", nil
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		return "link " + strconv.Quote(target), err
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is neither file, folder nor link", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := crc32.New(castagnoli)
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return fmt.Sprintf("file %o %d %08x", info.Mode().Perm()&0o111, info.Size(), sum.Sum32()), nil
}

// writeInventory lists the content of a folder in a file there. Its last line is the
// CRC-32C of the lines before it.
func writeInventory(ctx context.Context, root string) error {
	all, err := inventory(ctx, root)
	if err != nil {
		return fmt.Errorf("list what was unpacked: %w", err)
	}
	var b bytes.Buffer
	for _, e := range all {
		fmt.Fprintln(&b, e)
	}
	fmt.Fprintf(&b, "end %08x\n", crc32.Checksum(b.Bytes(), castagnoli))
	return writeFile(filepath.Join(root, inventoryName), b.Bytes())
}

// parseInventory decodes what writeInventory has written.
func parseInventory(data []byte) ([]inventoryEntry, error) {
	at := bytes.LastIndexByte(bytes.TrimSuffix(data, []byte{'\n'}), '\n') + 1
	if want := fmt.Sprintf("end %08x\n", crc32.Checksum(data[:at], castagnoli)); string(data[at:]) != want {
		return nil, errors.New("the list of its files is damaged")
	}
	var all []inventoryEntry
	for line := range strings.Lines(string(data[:at])) {
		line = strings.TrimSuffix(line, "\n")
		quoted, err := strconv.QuotedPrefix(line)
		what, found := strings.CutPrefix(line[len(quoted):], " ")
		path, _ := strconv.Unquote(quoted)
		if err != nil || !found || !filepath.IsLocal(path) {
			return nil, fmt.Errorf("the list of its files has the line %.80q", line)
		}
		all = append(all, inventoryEntry{path, what})
	}
	return all, nil
}

// DamageError reports that files of a prefix are not those that were unpacked. The
// remedy is to unpack the packages again, which Unpack does.
type DamageError struct {
	Prefix string
	Err    error
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.Prefix, e.Err) }

// Unwrap returns what is wrong.
func (e *DamageError) Unwrap() error { return e.Err }

// CheckPrefix compares every file of a prefix with what Unpack has put there. It reads
// them all. The error is a *DamageError that names the first file that is missing or
// changed, or ctx's. Files that were added are not looked for.
func CheckPrefix(ctx context.Context, prefix string) error {
	damaged := func(err error) error {
		if ctx.Err() != nil {
			return fmt.Errorf("check %s: %w", prefix, context.Cause(ctx))
		}
		return &DamageError{prefix, err}
	}
	if _, err := os.Stat(filepath.Join(prefix, stampName)); err != nil {
		return damaged(err)
	}
	data, err := os.ReadFile(filepath.Join(prefix, inventoryName))
	if err != nil {
		return damaged(err)
	}
	all, err := parseInventory(data)
	if err != nil {
		return damaged(err)
	}
	for _, e := range all {
		is, err := describe(ctx, filepath.Join(prefix, e.path))
		if err != nil {
			return damaged(err)
		}
		if is != e.what {
			return damaged(fmt.Errorf("%s is %s, and was unpacked as %s", e.path, is, e.what))
		}
	}
	return nil
}
