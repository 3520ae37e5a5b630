{{- /*
What jupyterhub_config.py reads. Declared helpers:
  jupyterhub.settings       settings.yaml: traits by class, the idle culler, Python of the administrator
  jupyterhub.hubAddress     name of the hub's Service as servers look it up; takes the root
  jupyterhub.traits         traits by class, as JSON
  jupyterhub.authenticator  traits of the authenticator by class, as JSON
  jupyterhub.cull           options and scopes of the idle culler; nothing when it is off
  jupyterhub.databasePort   port of an external database, or nothing
*/ -}}

{{- define "jupyterhub.settings" -}}
{{- $traits := include "common.merge" (tuple (include "jupyterhub.traits" . | fromJson) .Values.hub.config) | fromJson -}}
{{- toYaml (dict "traits" $traits "cull" (include "jupyterhub.cull" . | fromYaml) "extraConfig" .Values.hub.extraConfig) -}}
{{- end -}}

{{- define "jupyterhub.hubAddress" -}}
{{- include "jupyterhub.hubName" . -}}
{{- if ne (include "jupyterhub.namespace" .) .Release.Namespace }}.{{ .Release.Namespace }}{{ end -}}
{{- end -}}

{{- define "jupyterhub.traits" -}}
{{- $hub := dict "spawner_class" "kubespawner.KubeSpawner" "base_url" .Values.hub.baseUrl -}}
{{- $_ := set $hub "hub_bind_url" "http://:8081" -}}
{{- $_ := set $hub "hub_connect_url" (printf "http://%s:8081" (include "jupyterhub.hubAddress" .)) -}}
{{- /* Servers outlive the hub. */ -}}
{{- $_ := set $hub "cleanup_servers" false -}}
{{- $_ := set $hub "last_activity_interval" 60 -}}
{{- $_ := set $hub "tornado_settings" (dict "slow_spawn_timeout" 0) -}}
{{- $_ := set $hub "allow_named_servers" .Values.hub.allowNamedServers -}}
{{- $_ := set $hub "named_server_limit_per_user" (int .Values.hub.namedServerLimitPerUser) -}}
{{- $_ := set $hub "concurrent_spawn_limit" (int .Values.hub.concurrentSpawnLimit) -}}
{{- $_ := set $hub "active_server_limit" (int .Values.hub.activeServerLimit) -}}
{{- $_ := set $hub "db_url" (dict "sqlite-pvc" "sqlite:///jupyterhub.sqlite" "sqlite-memory" "sqlite://" | dig .Values.hub.db.type .Values.hub.db.url) -}}
{{- if .Values.hub.authenticator.allowPasswordless -}}
{{- $_ := set $hub "template_vars" (dict "announcement_login" "This hub asks nobody for a password.") -}}
{{- end -}}
{{- $proxy := dict "api_url" (printf "http://%s:8001" (include "jupyterhub.proxyApiName" .)) "should_start" false -}}
{{- $labels := include "common.selectorLabels" (dict "root" . "component" "singleuser-server") | fromYaml -}}
{{- $_ := unset $labels "app.kubernetes.io/component" -}}
{{- $spawner := dict "cmd" (list "jupyterhub-singleuser") "default_url" .Values.singleuser.defaultUrl -}}
{{- $_ := set $spawner "start_timeout" (int .Values.singleuser.startTimeout) -}}
{{- $_ := set $spawner "http_timeout" 120 -}}
{{- $_ := set $spawner "consecutive_failure_limit" (int .Values.hub.consecutiveFailureLimit) -}}
{{- $_ := set $spawner "common_labels" (set $labels "app.kubernetes.io/managed-by" "kubespawner") -}}
{{- $_ := set $spawner "events_enabled" .Values.singleuser.events -}}
{{- $traits := dict "JupyterHub" $hub "ConfigurableHTTPProxy" $proxy "KubeSpawner" $spawner -}}
{{- toJson (merge $traits (include "jupyterhub.authenticator" . | fromJson)) -}}
{{- end -}}

{{- define "jupyterhub.authenticator" -}}
{{- $authenticator := .Values.hub.authenticator -}}
{{- $common := dict "admin_users" (include "common.enabledNames" $authenticator.adminUsers | fromJsonArray) -}}
{{- with include "common.enabledNames" $authenticator.allowedUsers | fromJsonArray }}{{ $_ := set $common "allowed_users" . }}{{ end -}}
{{- if $authenticator.allowAll }}{{ $_ := set $common "allow_all" true }}{{ end -}}
{{- $traits := dict "Authenticator" $common -}}
{{- if eq $authenticator.type "none" -}}
{{- $_ := set $traits "JupyterHub" (dict "authenticator_class" "null") -}}
{{- else if eq $authenticator.type "dummy" -}}
{{- $_ := set $traits "JupyterHub" (dict "authenticator_class" "dummy") -}}
{{- else if eq $authenticator.type "github" -}}
{{- $_ := set $traits "JupyterHub" (dict "authenticator_class" "github") -}}
{{- $own := dict "oauth_callback_url" $authenticator.callbackUrl -}}
{{- with include "common.enabledNames" $authenticator.github.allowedOrganizations | fromJsonArray -}}
{{- $_ := set $own "allowed_organizations" . -}}
{{- $_ := set $own "scope" (list "read:org") -}}
{{- end -}}
{{- $_ := set $traits "GitHubOAuthenticator" $own -}}
{{- else if eq $authenticator.type "oidc" -}}
{{- $_ := set $traits "JupyterHub" (dict "authenticator_class" "generic-oauth") -}}
{{- $oidc := $authenticator.oidc -}}
{{- $own := dict "oauth_callback_url" $authenticator.callbackUrl "login_service" "single sign-on" -}}
{{- $_ := set $own "authorize_url" $oidc.authorizeUrl -}}
{{- $_ := set $own "token_url" $oidc.tokenUrl -}}
{{- $_ := set $own "userdata_url" $oidc.userdataUrl -}}
{{- $_ := set $own "username_claim" $oidc.usernameClaim -}}
{{- $_ := set $own "scope" (include "common.enabledNames" $oidc.scopes | fromJsonArray) -}}
{{- with $oidc.groupsClaim -}}
{{- $_ := set $own "auth_state_groups_key" (printf "oauth_user.%s" .) -}}
{{- $_ := set $own "manage_groups" true -}}
{{- end -}}
{{- with include "common.enabledNames" $oidc.allowedGroups | fromJsonArray }}{{ $_ := set $own "allowed_groups" . }}{{ end -}}
{{- $_ := set $traits "GenericOAuthenticator" $own -}}
{{- end -}}
{{- toJson $traits -}}
{{- end -}}

{{- define "jupyterhub.cull" -}}
{{- with .Values.cull }}
{{- if .enabled }}
options:
  - --timeout={{ int64 .timeout }}
  - --cull-every={{ int64 .every }}
  - --max-age={{ int64 .maxAge }}
  - --concurrency={{ int64 .concurrency }}
  - --cull-admin-users={{ .adminUsers }}
  {{- if .users }}
  - --cull-users
  {{- end }}
  {{- if .removeNamedServers }}
  - --remove-named-servers
  {{- end }}
scopes:
  - list:users
  - read:users:activity
  - read:servers
  - delete:servers
  {{- if .users }}
  - admin:users
  {{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "jupyterhub.databasePort" -}}
{{- if .Values.hub.db.url -}}
{{- regexFind ":[0-9]+/" .Values.hub.db.url | trimAll ":/" | default (eq .Values.hub.db.type "postgres" | ternary "5432" "3306") -}}
{{- end -}}
{{- end -}}
