// Answers questions about modules, one JSON array a line, with golang.org/x/mod itself.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/tlog"
)

func yes(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func orRefused(s string, err error) string {
	if err != nil {
		return "refused"
	}
	return "=" + s
}

func goMod(data string) string {
	f, err := modfile.ParseLax("go.mod", []byte(data), nil)
	if err != nil || f.Module == nil || f.Module.Mod.Path == "" {
		return "refused"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%q", f.Module.Mod.Path)
	if f.Go != nil {
		fmt.Fprintf(&b, " go %q", f.Go.Version)
	}
	fmt.Fprintf(&b, " deprecated %q", f.Module.Deprecated)
	for _, r := range f.Retract {
		fmt.Fprintf(&b, " retract %q %q %q", r.Low, r.High, r.Rationale)
	}
	return b.String()
}

func info(body string) string {
	var v struct {
		Version string
		Time    time.Time
	}
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		return "refused"
	}
	return v.Version + " " + yes(v.Time.IsZero())
}

func filePaths(block string) string {
	var start rune
	fmt.Sscanf(block, "%x", &start)
	out := make([]byte, 0, 4096)
	for r := start; r < start+4096; r++ {
		if r >= 0xd800 && r < 0xe000 || module.CheckFilePath("x"+string(r)+"x") != nil {
			out = append(out, '0')
		} else {
			out = append(out, '1')
		}
	}
	return string(out)
}

func answer(q []string) string {
	switch q[0] {
	case "path":
		prefix, major, ok := module.SplitPathVersion(q[1])
		if err := module.CheckPath(q[1]); err != nil || !ok {
			return "refused"
		}
		escaped, err := module.EscapePath(q[1])
		return orRefused(prefix+" "+major+" "+escaped, err)
	case "unescape path":
		return orRefused(module.UnescapePath(q[1]))
	case "file":
		return yes(module.CheckFilePath(q[1]) == nil)
	case "file characters":
		return filePaths(q[1])
	case "escape version":
		return orRefused(module.EscapeVersion(q[1]))
	case "unescape version":
		return orRefused(module.UnescapeVersion(q[1]))
	case "semver":
		v := q[1]
		return strings.Join([]string{yes(semver.IsValid(v)), semver.Canonical(v), semver.Major(v), semver.MajorMinor(v),
			semver.Prerelease(v), semver.Build(v), module.CanonicalVersion(v)}, " ")
	case "compare":
		return fmt.Sprint(semver.Compare(q[1], q[2]))
	case "major":
		return yes(module.MatchPathMajor(q[1], q[2]))
	case "pseudo":
		if !module.IsPseudoVersion(q[1]) {
			return "no"
		}
		base, err := module.PseudoVersionBase(q[1])
		if err != nil {
			return "refused"
		}
		rev, _ := module.PseudoVersionRev(q[1])
		at := "unknown"
		if t, err := module.PseudoVersionTime(q[1]); err == nil {
			at = t.Format(time.RFC3339)
		}
		return base + " " + rev + " " + at
	case "match":
		ok, err := path.Match(q[1], q[2])
		if err != nil {
			return "malformed"
		}
		return yes(ok)
	case "prefix":
		return yes(module.MatchPrefixPatterns(q[1], q[2]))
	case "tile":
		t, err := tlog.ParseTilePath(q[1])
		return yes(err == nil && t.H == 8)
	case "go.mod":
		return goMod(q[1])
	case "info":
		return info(q[1])
	}
	return "unknown question " + q[0]
}

func main() {
	in := json.NewDecoder(bufio.NewReader(os.Stdin))
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	enc := json.NewEncoder(out)
	for in.More() {
		var q []string
		if err := in.Decode(&q); err != nil {
			panic(err)
		}
		if err := enc.Encode(answer(q)); err != nil {
			panic(err)
		}
	}
}
