// Command argocd-render prints what Argo CD's repository server makes of an Application, from a local copy of its
// repository. It reads {"repository": FOLDER, "kubeVersion": "1.36.3", "application": {...}} and prints a list of objects.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/reposerver/apiclient"
	"github.com/argoproj/argo-cd/v3/reposerver/repository"
	"github.com/argoproj/argo-cd/v3/util/git"
	utilio "github.com/argoproj/argo-cd/v3/util/io"
	"k8s.io/apimachinery/pkg/api/resource"
)

type request struct {
	Repository  string               `json:"repository"`
	KubeVersion string               `json:"kubeVersion"`
	Application v1alpha1.Application `json:"application"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	spec := asked.Application.Spec
	sources := spec.GetSources()
	references := v1alpha1.RefTargetRevisionMapping{}
	paths := utilio.NewRandomizedTempPaths(os.TempDir())
	for _, source := range sources {
		paths.Add(git.NormalizeGitURL(source.RepoURL), asked.Repository)
		if source.Ref != "" {
			references["$"+source.Ref] = &v1alpha1.RefTarget{
				Repo:           v1alpha1.Repository{Repo: source.RepoURL},
				TargetRevision: source.TargetRevision,
			}
		}
	}
	objects := []json.RawMessage{}
	for _, source := range sources {
		if source.Path == "" {
			continue
		}
		made, err := repository.GenerateManifests(
			context.Background(), filepath.Join(asked.Repository, source.Path), asked.Repository, source.TargetRevision,
			&apiclient.ManifestRequest{
				Repo:               &v1alpha1.Repository{Repo: source.RepoURL},
				AppName:            asked.Application.Name,
				Namespace:          spec.Destination.Namespace,
				ApplicationSource:  &source,
				HasMultipleSources: spec.HasMultipleSources(),
				RefSources:         references,
				KubeVersion:        asked.KubeVersion,
				ProjectName:        spec.Project,
				TrackingMethod:     string(v1alpha1.TrackingMethodAnnotation),
			},
			true, git.NoopCredsStore{}, resource.MustParse("100M"), paths,
		)
		if err != nil {
			return err
		}
		for _, manifest := range made.Manifests {
			objects = append(objects, json.RawMessage(manifest))
		}
	}
	return json.NewEncoder(os.Stdout).Encode(objects)
}
