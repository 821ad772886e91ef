// What a dashboard of ours may be, by the types that Grafana publishes of its own schema, of the version that
// docker-compose.yml runs. None of them is repeated here: they are put together, and what they leave open is
// closed. A panel is one of the kinds that we use, with the options of that kind.
import type { DataLink } from '@grafana/data';
import type { Dashboard as Open, DataQuery, Panel as OpenPanel, RowPanel, VariableModel } from '@grafana/schema';
import type * as BarGauge from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type * as Stat from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type * as TimeSeries from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// In JSON an enum of words is any of its words.
type Json<T> = T extends string
  ? `${T}`
  : T extends number | boolean | null | undefined
    ? T
    : T extends Array<infer U>
      ? Array<Json<U>>
      : { [K in keyof T]: Json<T[K]> };

// Of Prometheus's query, whose types are of another package, what we say in ours.
interface Query extends DataQuery {
  refId: string;
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
  exemplar?: boolean;
}

type Required_ = 'id' | 'title' | 'description' | 'datasource' | 'gridPos';
interface Open_ extends Omit<OpenPanel, 'type' | 'options' | 'fieldConfig' | 'links' | 'targets'> {
  links: DataLink[];
  targets: Query[];
}
type Field = NonNullable<OpenPanel['fieldConfig']>['defaults'];
type Panel<Kind extends string, Options, Custom> = Json<Open_ & { [K in Required_]-?: NonNullable<OpenPanel[K]> }> & {
  type: Kind;
  options: Json<Partial<Options>>;
  fieldConfig: {
    defaults: Json<Omit<Field, 'custom' | 'links'>> & { links?: DataLink[]; custom?: Json<Custom> };
    overrides: [];
  };
};

// Grafana writes the question of a variable a second time, as `definition`, which its schema has forgotten.
type Variable = Json<VariableModel> & { definition?: string };

export type Dashboard = Json<Omit<Open, 'panels' | 'templating'>> & {
  templating: { list: Variable[] };
  panels: Array<
    | Json<RowPanel>
    | Panel<'stat', Stat.Options, never>
    | Panel<'bargauge', BarGauge.Options, never>
    | Panel<'timeseries', TimeSeries.Options, TimeSeries.FieldConfig>
  >;
};
