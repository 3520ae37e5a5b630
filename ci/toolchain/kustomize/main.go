// Command kustomize builds a Kustomize folder as `kustomize build` and `kubectl kustomize` do, with their library, at the
// version that Helm and kubectl are made with: the packages are compiled for Helm already.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "build" {
		fmt.Fprintln(os.Stderr, "usage: kustomize build FOLDER")
		os.Exit(2)
	}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), os.Args[2])
	if err == nil {
		var text []byte
		text, err = objects.AsYaml()
		os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
}
